"""What the trials of a search say, as numbers relative to the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy
from numpy.typing import NDArray

from search_space.knob import PARTS
from search_space.trial import INCUMBENT, Measurement, Trial

Matrix = NDArray[numpy.float64]


def part_seconds(measurement: Measurement) -> dict[str, float] | None:
    """The seconds of the latency by part of the call; None where the parts were not timed.

    What a call does beside the parts counts as step: it comes and goes with the steps.
    """
    call_s = median(measurement.seconds["steady"])
    latency_s = measurement.latency_s
    shares = {
        part: median(measurement.seconds[part]) / call_s
        for part in PARTS
        if part != "step" and measurement.seconds.get(part)
    }
    if "decode" not in shares or sum(shares.values()) >= 1:
        return None
    return {
        **{part: share * latency_s for part, share in shares.items()},
        "step": (1 - sum(shares.values())) * latency_s,
    }


def setup_seconds(trial: Trial) -> float:
    """What a trial took beside its steady calls and those of the incumbent."""
    measurement = trial.measurement
    kinds = ("steady", INCUMBENT)
    calls_s = sum(sum(measurement.seconds.get(kind, ())) for kind in kinds) if measurement else 0.0
    return max(trial.cost_s - calls_s, 0.0)


@dataclass(frozen=True)
class Observations:
    """The measured trials of a search: the seconds of each and what they are relative to."""

    trials: tuple[Trial, ...]
    unit_s: Mapping[str, float]
    """The seconds of the baseline's parts, or of the first trial's that was measured."""

    unit_bytes: float
    unit_setup_s: float
    relative_to_baseline: bool
    by_part: bool
    """Whether the parts of all trials were timed."""

    @classmethod
    def of(cls, trials: Sequence[Trial]) -> Observations | None:
        """None where nothing was measured."""
        measured = [trial for trial in trials if trial.measurement is not None]
        if not measured:
            return None
        unit = next((trial for trial in measured if trial.config.is_baseline), measured[0])
        assert unit.measurement is not None
        parts = [part_seconds(each.measurement) for each in measured if each.measurement]
        unit_parts = part_seconds(unit.measurement)
        by_part = unit_parts is not None and all(each is not None for each in parts)
        by_part = by_part and len({tuple(sorted(each)) for each in parts if each}) == 1
        return cls(
            tuple(measured),
            unit_parts if by_part and unit_parts else {"step": unit.measurement.latency_s},
            unit.measurement.peak_bytes,
            max(setup_seconds(unit), 1e-3),
            unit.config.is_baseline,
            by_part,
        )

    @property
    def unit_call_s(self) -> float:
        return sum(self.unit_s.values())

    @property
    def best_call_s(self) -> float:
        """The seconds of the fastest trial, which calls are interleaved with."""
        return min(each.measurement.latency_s for each in self.trials if each.measurement)

    def log_calls(self) -> Matrix:
        """The logarithm of each latency over the unit's."""
        latencies_s = [trial.measurement.latency_s for trial in self.trials if trial.measurement]
        return numpy.log(numpy.array(latencies_s) / self.unit_call_s)

    def log_parts(self, part: str) -> Matrix:
        """The logarithm of the seconds of a part over the unit's."""
        values = []
        for trial in self.trials:
            assert trial.measurement is not None
            seconds = part_seconds(trial.measurement)
            assert seconds is not None
            values.append(seconds[part])
        return numpy.log(numpy.array(values) / self.unit_s[part])

    def log_peaks(self, host: bool = False) -> Matrix:
        """The logarithm of each peak over the unit's."""
        peaks = [
            each.measurement.host_peak_bytes if host else each.measurement.peak_bytes
            for each in self.trials
            if each.measurement
        ]
        unit = next(
            (
                peak
                for peak, each in zip(peaks, self.trials, strict=True)
                if each.config.is_baseline
            ),
            peaks[0],
        )
        return numpy.log(numpy.array(peaks) / unit)

    def setups(self) -> Matrix:
        """What each trial took beside its steady calls, in multiples of the unit's, less one."""
        return numpy.array([setup_seconds(trial) for trial in self.trials]) / self.unit_setup_s - 1
