"""How many cases: 200 each in ``make test``, 10,000 each in ``make test-all``, always the same."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings

COMMON = {
    "derandomize": True,
    "database": None,
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    # Not explained: that repeats a failure under a tracer.
    "phases": (Phase.explicit, Phase.generate, Phase.shrink),
}
settings.register_profile("few", max_examples=200, **COMMON)
settings.register_profile("many", max_examples=10_000, **COMMON)


def pytest_configure(config: pytest.Config) -> None:
    """Few cases, unless ``--hypothesis-profile many`` is given."""
    if config.getoption("--hypothesis-profile", None) is None:
        settings.load_profile("few")
