"""Calls that lay beside each other, compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import exp, log
from statistics import fmean

from search_space.trial import Measurement
from tuner.measuring.calls import MINIMUM_SAMPLES


def comparable(measured: Sequence[Measurement]) -> list[Measurement]:
    """What was measured in one round, to be compared.

    Where calls were interleaved, those of one turn are compared: of turns that were calm for all
    trials, where they are enough, otherwise of all that these share. A trial stands with the mean
    of the middle half of its distances from the turns' means, which single calls do not move.
    """
    shared = _shared_turns(measured, calm=True)
    if len(shared) < MINIMUM_SAMPLES:
        # Each has enough calm calls of its own: what disturbed others is not let in again.
        own = all(one.disturbed is None for one in measured)
        shared = [] if own else _shared_turns(measured, calm=False)
    if len(measured) < 2 or len(shared) < MINIMUM_SAMPLES:
        return list(measured)
    logs = [[log(one.turns_s()[turn]) for turn in shared] for one in measured]
    turns = [fmean(beside) for beside in zip(*logs, strict=True)]
    return [
        replace(one, seconds={**one.seconds, "steady": (exp(fmean(turns) + level),)})
        for one, level in zip(measured, (_level(row, turns) for row in logs), strict=True)
    ]


def _shared_turns(measured: Sequence[Measurement], calm: bool) -> list[int]:
    turns = [one.turns_s(calm).keys() for one in measured]
    return sorted(set(turns[0]).intersection(*turns[1:])) if turns else []


def _level(logs: Sequence[float], turns: Sequence[float]) -> float:
    apart = sorted(own - turn for own, turn in zip(logs, turns, strict=True))
    outer = len(apart) // 4
    return fmean(apart[outer : len(apart) - outer])
