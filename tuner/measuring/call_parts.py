"""The parts of a pipeline call, timed: text encoding, steps, decode."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from search_space.build import Build, Entry

PART_OF_KNOB = {"text_encoder_engine": "text_encoding", "engine": "step", "vae_engine": "decode"}
"""The knob that chooses what runs a model of the pipeline, and the part of a call that it is."""

WITH_EVENTS = ("cuda", "xpu")
"""Devices on which torch has events that are timed: the call is not made to wait for them."""


class Stopwatch:
    """Times the parts of a call: when it enters and leaves the models of a pipeline."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._spans: dict[str, list[tuple[Any, Any]]] = {}
        self._step_ends: list[Any] = []

    @contextmanager
    def on(self, build: Build) -> Iterator[None]:
        """Time the calls of a pipeline while this lasts."""
        restores = [
            outermost(entry).replace(self._timed(part, entered(entry)))
            for knob, part in PART_OF_KNOB.items()
            for entry in build.entries(knob)
        ]
        try:
            yield
        finally:
            for restore in restores:
                restore()

    def on_step_end(self, pipe: Any, step: int, timestep: Any, tensors: Any) -> Any:
        """The callback of diffusers for the end of a step."""
        self._step_ends.append(self._stamp())
        return tensors

    def start(self) -> None:
        """Forget the last call."""
        self._spans.clear()
        self._step_ends.clear()

    def read(self) -> Mapping[str, tuple[float, ...]]:
        """The seconds of each part of the last call, once the device has done its work.

        Text encoding and decode are one sample a call. A step ends where the pipeline says so, and
        where it never does, a run of the denoiser counts as one.
        """
        parts_s = {
            part: (sum(between_s(*span) for span in spans),)
            for part, spans in self._spans.items()
            if part != "step"
        }
        step_spans = self._spans.get("step", [])
        steps_s = tuple(between_s(*span) for span in step_spans)
        if self._step_ends:
            first_start = [start for start, _ in step_spans[:1]]
            steps_s = tuple(between_s(*pair) for pair in pairwise([*first_start, *self._step_ends]))
        return {**parts_s, "step": steps_s}

    def _timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = self._stamp()
            output = function(*args, **kwargs)
            self._spans.setdefault(part, []).append((start, self._stamp()))
            return output

        return timed

    def _stamp(self) -> Any:
        if self._device not in WITH_EVENTS:
            return time.perf_counter()
        import torch

        event = torch.Event(self._device, enable_timing=True)
        event.record()
        return event


def between_s(earlier: Any, later: Any) -> float:
    """The seconds between two stamps."""
    if isinstance(earlier, float):
        return float(later - earlier)
    return float(earlier.elapsed_time(later)) / 1000


def outermost(entry: Entry) -> Entry:
    """Where a call of the model is seen from outside all that knobs have wrapped around it.

    Torch calls what stands here first, compiled or not. ``forward`` is no such place: it is traced
    by the compiler, and offloading puts its own in and takes it out again within one call.
    """
    if entry.attribute != "forward":
        return entry
    return Entry(entry.name, entry.owner, "_compiled_call_impl")


def entered(entry: Entry) -> Callable[..., Any]:
    """What runs when the pipeline calls the model."""
    if entry.attribute != "forward":
        return entry.function
    run: Callable[..., Any] = entry.owner._compiled_call_impl or entry.owner._call_impl
    return run
