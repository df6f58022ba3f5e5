"""Exceptions of a trial as typed failures."""

from __future__ import annotations

from dataclasses import replace

from search_space.trial import OUT_OF_MEMORY, Failure, FailureKind
from tuner.measuring.memory.limits import lift_data_limit, near_data_limit
from tuner.measuring.phases import Phases

OUT_OF_HOST_MEMORY = ("can't alloc", "Failed to allocate memory", "std::bad_alloc")


OUT_OF_DEVICE_MEMORY = ("MPS backend out of memory", "CUDA out of memory")


def failure_of(error: Exception, phases: Phases) -> Failure:
    """The typed failure of an exception, with what was held if memory ran out.

    Few libraries say so when it does: near the limit, whatever they say is taken to mean it.
    """
    failure = classify(error, phases.name)
    if failure.kind is FailureKind.UNSUPPORTED and near_data_limit():
        failure = replace(failure, kind=FailureKind.HOST_OUT_OF_MEMORY)
    lift_data_limit()
    if failure.kind not in OUT_OF_MEMORY:
        return failure
    place = "host" if failure.kind is FailureKind.HOST_OUT_OF_MEMORY else "device"
    return replace(failure, peak_bytes=phases.held_bytes(place))


class NoEffect(Exception):
    """A choice was applied and did nothing."""


def classify(error: Exception, phase: str) -> Failure:
    """The typed failure of an exception that was raised in a phase."""
    import torch

    from tuner.measuring.fidelity.compare import InvalidOutput

    message = f"{type(error).__name__}: {error}".strip()
    kind = FailureKind.UNSUPPORTED
    if isinstance(error, InvalidOutput):
        kind, message = FailureKind.INVALID_OUTPUT, str(error)
    elif isinstance(error, NoEffect):
        message = str(error)
    elif isinstance(error, torch.OutOfMemoryError) or _says(message, OUT_OF_DEVICE_MEMORY):
        kind = FailureKind.DEVICE_OUT_OF_MEMORY
    elif isinstance(error, MemoryError) or _says(message, OUT_OF_HOST_MEMORY):
        kind = FailureKind.HOST_OUT_OF_MEMORY
    return Failure(kind, " ".join(message.split())[:300], phase)


def _says(message: str, phrases: tuple[str, ...]) -> bool:
    return any(phrase in message for phrase in phrases)
