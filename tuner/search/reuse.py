"""Which trials of earlier runs a search reuses, and which it tries once more."""

from __future__ import annotations

from collections.abc import Sequence

from search_space.config import Config
from search_space.trial import OUT_OF_MEMORY, Failure, FailureKind, Trial
from tuner.records.plan import Plan
from tuner.records.progress import Reuse


def reusable(plan: Plan, history: Sequence[Trial]) -> Reuse:
    """The trials of its workload on its machine that a search can reuse."""
    latest: dict[Config, Trial] = {}
    excused: set[Config] = set()
    for trial in history:
        config = trial.config
        earlier = latest.get(config)
        if not trial.purpose.is_searched or not trial.counts(plan.budget):
            continue
        if earlier is not None and earlier.exceeds(plan.budget):
            continue
        if config.is_baseline:
            if _usable_baseline(plan, trial):
                latest[config] = trial
            continue
        if cut_short_by_noise(trial) and config not in excused:
            # It may have been the neighbour: this run may try once more.
            excused.add(config)
            continue
        if plan.space.holds(config):
            latest[config] = trial
    trials = sorted(latest.values(), key=lambda trial: (not trial.config.is_baseline, trial.number))
    to_repeat = {config for config in excused - latest.keys() if plan.space.holds(config)}
    return Reuse(tuple(trials), len(to_repeat))


def cut_short_by_noise(trial: Trial) -> bool:
    """Whether a trial was cut short while something else was at work on the machine."""
    outcome = trial.outcome
    if isinstance(outcome, Failure):
        cut_short = outcome.kind is FailureKind.TIMEOUT
    else:
        cut_short = len(outcome.seconds["steady"]) == 1
    return cut_short and outcome.disturbed is not None


def _usable_baseline(plan: Plan, trial: Trial) -> bool:
    # Trials are compared with its output; one that never fits has none.
    if isinstance(trial.outcome, Failure):
        return trial.outcome.kind in OUT_OF_MEMORY
    return plan.reference.exists()
