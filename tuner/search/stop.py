"""When a search ends."""

from __future__ import annotations

import time
from collections.abc import Sequence

from search_space.trial import Trial
from tuner.records.objective import best
from tuner.records.plan import Plan


class Clock:
    """The time limit of a search, which starts once the baseline is known."""

    def __init__(self, limit_s: float | None) -> None:
        self._ends_s = None if limit_s is None else time.monotonic() + limit_s

    @property
    def is_over(self) -> bool:
        return self._ends_s is not None and time.monotonic() > self._ends_s


def target_is_reached(plan: Plan, trials: Sequence[Trial]) -> bool:
    """Whether a trial is as many times as fast as the baseline as the user asked for."""
    baseline = next((trial.measurement for trial in trials if trial.config.is_baseline), None)
    winner = best(list(trials), plan.budget, plan.objective, baseline)
    if plan.target_speedup is None or baseline is None or winner is None:
        return False
    assert winner.measurement is not None
    value, limit = plan.objective.value(winner.measurement), plan.objective.value(baseline)
    return value * plan.target_speedup <= limit
