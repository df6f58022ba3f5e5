"""A trial compared with the baseline of its workload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from search_space.config import BASELINE, Config
from search_space.trial import Trial
from tuner.race.additive_model import Interval
from tuner.race.race import Race, Standing
from tuner.records.request import MINIMUM_ROUNDS


@dataclass(frozen=True)
class Comparison:
    """The baseline's latency over that of a trial's config.

    ``rounds`` counts the rounds of a race in which both ran. Without a race it is 0, ``speedup``
    is the ratio to the one trial ``baseline``, and its bounds say nothing. ``interleaved`` says
    whether the calls of a round were interleaved.
    """

    speedup: Interval
    rounds: int
    baseline: Trial
    interleaved: bool = False


def with_baseline(trial: Trial, history: Sequence[Trial]) -> Comparison | None:
    """By the last race of the trial's config, otherwise by the last baseline before it.

    ``history`` holds the trials of the same machine and workload. None for the baseline itself, for
    a trial that failed, and where no baseline was measured.
    """
    config = trial.config
    measured_trials = [other for other in history if other.measurement is not None]
    baselines = [other for other in measured_trials if other.config.is_baseline]
    if trial.measurement is None or config.is_baseline or not baselines:
        return None
    races = [other.race for other in measured_trials if other.config == config and other.race]
    for name in reversed(dict.fromkeys(races)):
        comparison = _by_race(config, [other for other in measured_trials if other.race == name])
        if comparison is not None:
            return comparison
    # As in the store's view trial_summary: the last before it, where there is one.
    earlier = [other for other in baselines if other.number < trial.number]
    nearest = max(earlier, key=number_of) if earlier else min(baselines, key=number_of)
    assert nearest.measurement is not None
    ratio = nearest.measurement.latency_s / trial.measurement.latency_s
    return Comparison(Interval(ratio, ratio, ratio), 0, nearest)


def number_of(trial: Trial) -> int:
    """The place of a trial in the order in which they ran."""
    return trial.number


def _by_race(config: Config, trials: list[Trial]) -> Comparison | None:
    speedup = Standing(Race((BASELINE, config), 0), trials).speedup(config)
    baselines = [trial for trial in trials if trial.config.is_baseline]
    rounds = {trial.round for trial in trials if trial.config == config}
    shared = rounds & {trial.round for trial in baselines}
    if speedup is None or len(shared) < MINIMUM_ROUNDS:
        return None
    pair = [trial.measurement for trial in trials if trial.config in (config, BASELINE)]
    interleaved = all(measurement is not None and measurement.turns for measurement in pair)
    return Comparison(speedup, len(shared), baselines[0], interleaved)
