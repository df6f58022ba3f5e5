"""A config and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from statistics import median

from search_space.units import format_size

Config = Mapping[str, str]
"""One choice per knob. A knob that is not named stands at its first choice."""


class FailureKind(str, Enum):
    """The ways in which a trial can fail."""

    OVER_MEMORY = "over_memory"
    DEVICE_OUT_OF_MEMORY = "device_out_of_memory"
    HOST_OUT_OF_MEMORY = "host_out_of_memory"
    CRASH = "crash"
    TIMEOUT = "timeout"
    INVALID_OUTPUT = "invalid_output"
    UNSUPPORTED = "unsupported"


OUT_OF_MEMORY = (FailureKind.DEVICE_OUT_OF_MEMORY, FailureKind.HOST_OUT_OF_MEMORY)


@dataclass(frozen=True)
class Peak:
    """The most memory that one phase of a trial held in one place.

    ``place`` is ``host`` or ``device``; ``source`` names the counter that was read.
    """

    place: str
    phase: str
    source: str
    peak_bytes: int


@dataclass(frozen=True)
class Measurement:
    """The raw facts of a trial that ran; statistics are computed on reading.

    ``seconds`` maps a kind (start, load, export, first_call, warm_up, steady, step …) to its
    samples in order. ``psnr_db`` is None for the trial whose output is the reference.
    """

    seconds: Mapping[str, tuple[float, ...]]
    peaks: tuple[Peak, ...]
    psnr_db: float | None = None

    @property
    def latency_s(self) -> float:
        """Median of the steady calls."""
        return median(self.seconds["steady"])

    @property
    def peak_bytes(self) -> int:
        """Peak of the memory that the budget is about: the device's, or the host's without one."""
        places = {peak.place for peak in self.peaks}
        place = "device" if "device" in places else "host"
        return max(peak.peak_bytes for peak in self.peaks if peak.place == place)


@dataclass(frozen=True)
class Failure:
    """Why a trial gave no usable measurement; ``log`` is the end of what the process printed."""

    kind: FailureKind
    message: str
    phase: str = ""
    log: str = ""
    peak_bytes: int | None = None


@dataclass(frozen=True)
class Trial:
    """A config and what became of it; ``number`` is given by the store."""

    config: Config
    outcome: Measurement | Failure
    cost_s: float
    started_at: str
    number: int = 0
    purpose: str = "search"
    memory_bytes: int | None = field(default=None, compare=False)

    @property
    def measurement(self) -> Measurement | None:
        """The measurement, if there is one."""
        return self.outcome if isinstance(self.outcome, Measurement) else None

    def judged(self, memory_bytes: int | None) -> Failure | None:
        """Why this trial is not feasible within ``memory_bytes``, or None."""
        if isinstance(self.outcome, Failure):
            return self.outcome
        peak_bytes = self.outcome.peak_bytes
        if memory_bytes is None or peak_bytes <= memory_bytes:
            return None
        sentence = f"needs {format_size(peak_bytes)}, the budget is {format_size(memory_bytes)}"
        return Failure(FailureKind.OVER_MEMORY, sentence, peak_bytes=peak_bytes)
