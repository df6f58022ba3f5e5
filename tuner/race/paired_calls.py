"""Interleaved calls, compared turn by turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import exp, log
from statistics import fmean

from search_space.trial import Measurement
from tuner.measuring.precision import MINIMUM_SAMPLES


def comparable(measurements: Sequence[Measurement]) -> list[Measurement]:
    """The measurements of one round, made comparable.

    Where calls were interleaved, those of one turn are compared: of turns that were calm for all
    trials, where they are enough, otherwise of all that these share. A trial stands with the mean
    of the middle half of its distances from the turns' means, which single calls do not move.
    """
    shared = calm_together(measurements)
    if len(shared) < MINIMUM_SAMPLES:
        # Each has enough calm calls of its own: what disturbed others is not let in again.
        all_calm = all(measurement.disturbed is None for measurement in measurements)
        shared = [] if all_calm else _shared_turns(measurements, calm=False)
    if len(measurements) < 2 or len(shared) < MINIMUM_SAMPLES:
        return list(measurements)
    logs = [[log(measurement.turns_s()[turn]) for turn in shared] for measurement in measurements]
    turns = [fmean(logs_of_turn) for logs_of_turn in zip(*logs, strict=True)]
    levels_s = [exp(fmean(turns) + _level(row, turns)) for row in logs]
    return [
        replace(measurement, seconds={**measurement.seconds, "steady": (level_s,)})
        for measurement, level_s in zip(measurements, levels_s, strict=True)
    ]


def calm_together(measurements: Sequence[Measurement]) -> list[int]:
    """The turns in which the calls of all were calm."""
    return _shared_turns(measurements, calm=True)


def _shared_turns(measurements: Sequence[Measurement], calm: bool) -> list[int]:
    turns = [measurement.turns_s(calm).keys() for measurement in measurements]
    return sorted(set(turns[0]).intersection(*turns[1:])) if turns else []


def _level(logs: Sequence[float], turns: Sequence[float]) -> float:
    distances = sorted(own - turn for own, turn in zip(logs, turns, strict=True))
    outer = len(distances) // 4
    return fmean(distances[outer : len(distances) - outer])
