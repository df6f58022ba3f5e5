"""How many calls a trial makes: as many as its decision needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tuner.records.statistics import half_width_s, standard_error_s

MINIMUM_SAMPLES = 3
"""Fewer say too little of how much calls vary: Student's factor is 12.7 for two, 4.3 for three."""

MAXIMUM_SAMPLES = 10
"""One more would narrow the interval by a twentieth and costs as much as each before; the race
tells apart what ten do not."""

MOST_SEARCHED = 6
"""The most steady calls of a search's trial, made only where it is open whether it will be a
finalist: where that limit is within the standard error. Who is still so close is its equal."""

MAXIMUM_WARM_UPS = {"cpu": 3}
"""After so many calls beyond the first the steady ones begin: on a busy CPU two calls in a row may
never be as alike as `WARM_DIFFERENCE` wants them."""

MAXIMUM_WARM_UPS_ACCELERATOR = 5
"""CUDA graphs are recorded in the second and third call."""

SEARCHED_WARM_UPS = {"cpu": 1}
"""In a search one call beyond the first: what it lacks of being warm is little beside the 15 %
that make a finalist."""

SEARCHED_WARM_UPS_ACCELERATOR = 2
"""CUDA graphs are recorded in the second and third call."""

LONG_S = 20.0
"""Where the steady calls of a search's trial have taken this long, `LONG_SAMPLES` are enough: long
calls are many alike parts, and vary less."""

LONG_SAMPLES = 2
"""The least of which one can confirm the other."""

WARM_LIMIT_S = 5.0
"""Warm-up ends once the calls beyond the first have taken this long: what becomes faster by warming
up, caches and pools of memory, does so within a second or two."""

STEADY_LIMIT_S = 30.0
"""After this long no further sample is taken, once there are three: the time is better spent on
another config than on a narrower interval."""

WARM_DIFFERENCE = 0.03
"""Warm calls beside each other vary by 1 to 2 % on a quiet CPU. A smaller difference would rarely
be met, a larger one let a call count that still becomes faster."""

HALF_WIDTH = {"cpu": 0.02}
"""Steady calls end when the interval is this narrow: calls that vary by 2 % need nine for it, and
33 for half of it."""

HALF_WIDTH_ACCELERATOR = 0.01
"""Half of a CPU's, for calls vary less: trials of one config by 0.5 and 1.4 % on an H100, by 2 to
5 % on a quiet CPU."""


@dataclass(frozen=True)
class Precision:
    """How many calls a trial makes.

    A ``precise`` one goes on until its median is well known. Others, a search's, make three: one
    where it takes longer than ``cap_s`` beyond doubt, more where it is open whether a call takes
    less than ``reach_s``. ``beside_s`` is what the incumbent's calls are known to take, if calls
    are interleaved with them: then a call counts as its ratio to the incumbent's, times that.
    """

    precise: bool = True
    cap_s: float | None = None
    reach_s: float | None = None
    beside_s: float | None = None


def warm(calls_s: Sequence[float], device: str, precise: bool) -> bool:
    """Whether the calls so far have warmed the pipeline up, and steady ones may begin."""
    if not precise:
        return len(calls_s) > SEARCHED_WARM_UPS.get(device, SEARCHED_WARM_UPS_ACCELERATOR)
    if len(calls_s) < 2:
        return False
    before_s, last_s = calls_s[-2:]
    most_warm_ups = MAXIMUM_WARM_UPS.get(device, MAXIMUM_WARM_UPS_ACCELERATOR)
    if len(calls_s) > most_warm_ups or sum(calls_s[1:]) > WARM_LIMIT_S:
        return True
    return abs(last_s - before_s) < WARM_DIFFERENCE * before_s


def searched(values_s: Sequence[float], is_sure: bool, precision: Precision) -> bool:
    """Whether a search knows enough; it is not ``is_sure`` of a single call that was disturbed."""
    if values_s and is_sure and precision.cap_s is not None and min(values_s) > precision.cap_s:
        return True
    if len(values_s) < (LONG_SAMPLES if sum(values_s) > LONG_S else MINIMUM_SAMPLES):
        return False
    if precision.reach_s is None or sum(values_s) > STEADY_LIMIT_S:
        return True
    # Whoever is a finalist by mistake costs a race a little, so that likely is sure enough.
    return abs(precision.reach_s - median(values_s)) > standard_error_s(values_s)


def settled(calls_s: Sequence[float], counting_s: Sequence[float], device: str) -> bool:
    """Whether the median of those calls that count is well known."""
    if len(calls_s) < MINIMUM_SAMPLES:
        return False
    if len(calls_s) >= MAXIMUM_SAMPLES or sum(calls_s) > STEADY_LIMIT_S:
        return True
    share = HALF_WIDTH.get(device, HALF_WIDTH_ACCELERATOR)
    return half_width_s(counting_s) <= share * median(counting_s)
