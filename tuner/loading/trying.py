"""A loaded pipeline warmed up, and timed against what was promised."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

from search_space.config import final_call
from search_space.errors import UsageError
from tuner.loading.match import Level
from tuner.loading.tuned_pipeline import Tuned
from tuner.measuring.calls import image_count, timed_call
from tuner.measuring.precision import settled, warm
from tuner.records.statistics import half_width_s

ALIKE = 0.05
"""Of a latency: trials of one config on a quiet CPU are apart by up to this much."""


@dataclass(frozen=True)
class Verification:
    """What a call takes here, with the bounds of its 95 % interval, beside what was promised.

    Seconds are those of a call, of an image where images were counted. ``promised_s`` is what was
    measured, None where nothing was; ``as_promised`` whether this is no slower beyond doubt.
    """

    latency_s: float
    low_s: float
    high_s: float
    calls: int
    promised_s: float | None
    measured_on: str
    level: Level

    @property
    def as_promised(self) -> bool | None:
        """None where nothing was promised for this machine, size and versions."""
        if self.promised_s is None or self.level is not Level.EXACT:
            return None
        return self.low_s <= self.promised_s * (1 + ALIKE)

    def __str__(self) -> str:
        """One sentence: ``1.31 s here, 1.29 s promised``."""
        here = f"{self.latency_s:.3g} s here"
        interval = f"95 %: {self.low_s:.3g} to {self.high_s:.3g} s, {self.calls} calls"
        if self.promised_s is None:
            return f"{here}, nothing promised for {self.level.words} ({interval})"
        if self.level is Level.EXACT:
            return f"{here}, {self.promised_s:.3g} s promised ({interval})"
        measured = f"{self.promised_s:.3g} s measured on {self.measured_on}"
        return f"{here}, {measured}, which is no promise: {self.level.words} ({interval})"


def warm_up(pipe: Any) -> tuple[float, ...]:
    """Call a loaded pipeline as it was tuned until calls no longer become faster; their seconds."""
    tuned = _record(pipe)
    call = final_call(tuned.config, tuned.workload.call())
    calls_s: list[float] = []
    while not warm(calls_s, tuned.device, precise=True):
        calls_s.append(_timed_s(pipe, tuned, call))
    return tuple(calls_s)


def verify(pipe: Any) -> Verification:
    """Time a loaded pipeline, called as it was tuned, until its latency is known narrowly.

    It is warmed up first. Nothing else should run meanwhile: the figures promised are of a quiet
    machine. ``print`` shows the sentence.
    """
    tuned = _record(pipe)
    call = final_call(tuned.config, tuned.workload.call())
    counted = tuned.workload.counted(image_count(call))
    warm_up(pipe)
    calls_s: list[float] = []
    while not settled(calls_s, calls_s, tuned.device):
        calls_s.append(_timed_s(pipe, tuned, call))
    middle_s, half_s = median(calls_s), half_width_s(calls_s)
    return Verification(
        middle_s / counted,
        max(0.0, middle_s - half_s) / counted,
        (middle_s + half_s) / counted,
        len(calls_s),
        tuned.figures.latency_s if tuned.figures else None,
        tuned.measured_on,
        tuned.level,
    )


def _record(pipe: Any) -> Tuned:
    tuned = getattr(pipe, "tuned", None)
    if not isinstance(tuned, Tuned):
        raise UsageError("this pipeline was not loaded by tuner.load: give one that was")
    return tuned


def _timed_s(pipe: Any, tuned: Tuned, call: dict[str, Any]) -> float:
    # As trials are: no conversion to PIL images.
    arguments = {**call, "output_type": "np"}
    return timed_call(pipe, arguments, tuned.device, tuned.workload.seed).call_s
