"""When a search ends."""

from __future__ import annotations

from collections.abc import Sequence

from search_space.trial import Trial
from tuner.records.objective import best
from tuner.records.plan import Plan


def target_is_reached(plan: Plan, trials: Sequence[Trial]) -> bool:
    """Whether a trial is as many times as fast as the baseline as the user asked for."""
    baseline = next((trial.measurement for trial in trials if trial.config.is_baseline), None)
    winner = best(list(trials), plan.budget, plan.objective, baseline)
    if plan.target_speedup is None or baseline is None or winner is None:
        return False
    assert winner.measurement is not None
    value, limit = plan.objective.value(winner.measurement), plan.objective.value(baseline)
    return value * plan.target_speedup <= limit
