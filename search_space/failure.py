"""Why a trial gave no usable measurement."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from search_space.conditions import Condition, complaints


class FailureKind(StrEnum):
    """The ways in which a trial can fail."""

    OVER_MEMORY = "over_memory"
    TOO_FAR = "too_far"
    DEVICE_OUT_OF_MEMORY = "device_out_of_memory"
    HOST_OUT_OF_MEMORY = "host_out_of_memory"
    CRASH = "crash"
    TIMEOUT = "timeout"
    INVALID_OUTPUT = "invalid_output"
    UNSUPPORTED = "unsupported"


OUT_OF_MEMORY = (FailureKind.DEVICE_OUT_OF_MEMORY, FailureKind.HOST_OUT_OF_MEMORY)


@dataclass(frozen=True)
class Failure:
    """Why a trial gave no usable measurement; ``log`` is the end of what the process printed.

    ``peak_bytes`` is what it held, of the memory that the failure is about.
    """

    kind: FailureKind
    message: str
    phase: str = ""
    log: str = ""
    peak_bytes: int | None = None
    conditions: tuple[Condition, ...] = ()

    @property
    def disturbed(self) -> str | None:
        """What disturbed the trial when a deadline passed, or None."""
        return complaints(self.conditions)

    @property
    def unstable(self) -> str | None:
        """Always None: no calls were timed."""
        return None
