"""Who takes part in the race: the best of the search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from search_space.trial import Measurement, Purpose, Trial
from tuner.race.decision import over_budget
from tuner.records.objective import best, value_of
from tuner.records.plan import Plan
from tuner.records.rules import FINALISTS, REACH

DRIFTED = 0.03
"""From this share on the baseline's moves are more than what its samples scatter by."""


def drift(trials: Iterable[Trial]) -> float:
    """The largest latency of the baseline over the smallest, less 1, over baseline and drift."""
    latencies_s = [baseline.latency_s for _, baseline in _baselines(trials)]
    return max(latencies_s) / min(latencies_s) - 1 if latencies_s else 0.0


def _baselines(trials: Iterable[Trial]) -> list[tuple[int, Measurement]]:
    purposes = (Purpose.BASELINE, Purpose.DRIFT)
    baselines = [
        (trial.number, trial.measurement)
        for trial in trials
        if trial.config.is_baseline and trial.purpose in purposes and trial.measurement
    ]
    # A neighbour that came and went is not the machine's drift.
    return [pair for pair in baselines if pair[1].disturbed is None] or baselines


def finalists(plan: Plan, trials: Sequence[Trial], history: Sequence[Trial]) -> list[Trial]:
    """The best of the search by value; where the baseline moved, also by value over the local one.

    One slow measurement of the baseline must not lift its neighbours over what was faster.
    """
    excluded = over_budget(plan.budget, (trial for trial in history if trial.purpose.is_searched))
    baseline = next((trial.measurement for trial in trials if trial.config.is_baseline), None)
    feasible = [
        trial
        for trial in trials
        if plan.space.holds(trial.config)
        and trial.config not in excluded
        and best([trial], plan.budget, plan.objective, baseline) is trial
    ]
    values = {trial.number: value_of(trial, plan.objective) for trial in feasible}
    ratios = shares(values)
    if drift(history) > DRIFTED and plan.objective.of_one_call:
        local = shares(over_local_baseline(values, _baselines(history)))
        ratios = {number: min(share, local[number]) for number, share in ratios.items()}
    order = sorted(feasible, key=lambda trial: ratios[trial.number])
    candidates = [trial for trial in order if not trial.config.is_baseline][:FINALISTS]
    return [trial for trial in candidates if ratios[trial.number] <= REACH]


def shares(values: Mapping[int, float]) -> dict[int, float]:
    """Each value over the best one."""
    lowest = min(values.values(), default=1.0)
    return {number: value / lowest for number, value in values.items()}


def over_local_baseline(
    values: Mapping[int, float], baselines: Sequence[tuple[int, Measurement]]
) -> dict[int, float]:
    """Each value over the latency of the baseline that was measured nearest in time."""
    return {
        number: value / min(baselines, key=lambda baseline: abs(baseline[0] - number))[1].latency_s
        for number, value in values.items()
    }
