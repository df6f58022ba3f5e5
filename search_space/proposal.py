"""A proposal: the config that a search tries next, why, and what it expects."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from search_space.config import Config
from search_space.units import format_duration


class Reason(StrEnum):
    """Why a search proposes a config."""

    PRIOR = "prior"
    """What other workloads and machines have shown promises most."""

    MODEL = "model"
    """What the trials so far have shown promises most."""

    EXPLORATION = "exploration"
    """It may be better than what it is expected to be: little is known of it."""

    SPARING = "sparing"
    """Nothing fits the budget yet: what is likeliest to fit comes first."""

    SAMPLER = "sampler"
    """Another sampler proposed it, which gives no reason."""


@dataclass(frozen=True)
class Expectation:
    """What a search expects of a config before it is tried, with intervals of 95 %.

    ``speedup`` is the baseline's latency over its own; where the baseline did not run, another
    trial stands for it. ``peak_ratio`` is its peak memory over the baseline's. ``feasible`` is the
    probability that it works, fits the budget and keeps the image; ``cost_s`` the seconds of the
    trial.
    """

    speedup: float
    low: float
    high: float
    peak_ratio: float
    peak_low: float
    peak_high: float
    feasible: float
    cost_s: float


@dataclass(frozen=True)
class Proposal:
    """The next config, the reason, and what is expected of it if anything is."""

    config: Config
    reason: Reason
    expected: Expectation | None = None

    def describe(self) -> str:
        """One line: ``prior: 1.62x expected (1.21 to 2.10), 93 % feasible, about 41 s``."""
        if self.expected is None:
            return self.reason.value
        each = self.expected
        interval = f"{each.speedup:.2f}x expected ({each.low:.2f} to {each.high:.2f})"
        chance = f"{100 * each.feasible:.0f} % feasible"
        return f"{self.reason.value}: {interval}, {chance}, about {format_duration(each.cost_s)}"
