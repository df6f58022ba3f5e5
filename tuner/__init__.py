"""Tune a diffusers pipeline, load what was tuned, and read what was measured.

    result = tuner.tune("org/model", height=1024, width=1024, steps=30, memory="8GiB")
    pipe = result.load()

Importing this costs nothing: torch and the store are imported by what needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tuner.version import __version__

if TYPE_CHECKING:
    from search_space.errors import TuneError, UsageError
    from tuner.history.read import History
    from tuner.loader import load
    from tuner.loading.trying import verify, warm_up
    from tuner.run import tune

__all__ = [
    "History",
    "TuneError",
    "UsageError",
    "__version__",
    "load",
    "tune",
    "verify",
    "warm_up",
]

ERRORS = ("TuneError", "UsageError")
HOMES = {
    "History": ("tuner.history.read", "search_space", "storage"),
    "load": ("tuner.loader", "search_space"),
    "tune": ("tuner.run", "search_space", "storage"),
    "verify": ("tuner.loading.trying", "search_space"),
    "warm_up": ("tuner.loading.trying", "search_space"),
}
"""Where each name lives, and which of our packages it needs."""


def __getattr__(name: str) -> Any:
    """Import a name of the front door when it is first used."""
    if name in ERRORS:
        from tuner import precedence

        return getattr(precedence.errors(), name)
    if name in HOMES:
        from tuner import precedence

        # An application has a right to a ``storage`` of its own, until it asks for what needs ours.
        home, *packages = HOMES[name]
        precedence.claim(*packages)
        return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'tuner' has no attribute {name!r}")
