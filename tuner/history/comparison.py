"""A trial beside the baseline of its workload: how many times as fast, and how that is known."""

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

    ``rounds`` is how often both were measured in a race; without one it is 0, ``speedup`` is the
    ratio of two trials alone, of which ``baseline`` is the other, and its bounds say nothing.
    """

    speedup: Interval
    rounds: int
    baseline: Trial


def with_baseline(trial: Trial, known: Sequence[Trial]) -> Comparison | None:
    """By the last race of the trial's config, otherwise by the baseline that was measured nearest.

    ``known`` are the trials of the same machine and workload. None for the baseline itself, for
    what was not measured and where no baseline was.
    """
    config = trial.config
    measured = [one for one in known if one.measurement is not None]
    baselines = [one for one in measured if one.config.is_baseline]
    if trial.measurement is None or config.is_baseline or not baselines:
        return None
    races = [one.race for one in measured if one.config == config and one.race]
    for name in reversed(dict.fromkeys(races)):
        raced = _raced(config, [one for one in measured if one.race == name])
        if raced is not None:
            return raced
    nearest = min(baselines, key=lambda one: abs(one.number - trial.number))
    assert nearest.measurement is not None
    ratio = nearest.measurement.latency_s / trial.measurement.latency_s
    return Comparison(Interval(ratio, ratio, ratio), 0, nearest)


def _raced(config: Config, trials: list[Trial]) -> Comparison | None:
    speedup = Standing(Race((BASELINE, config), 0), trials).speedup(config)
    baselines = [one for one in trials if one.config.is_baseline]
    rounds = {one.round for one in trials if one.config == config}
    shared = rounds & {one.round for one in baselines}
    if speedup is None or len(shared) < MINIMUM_ROUNDS:
        return None
    return Comparison(speedup, len(shared), baselines[0])
