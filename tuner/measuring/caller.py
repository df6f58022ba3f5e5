"""The calls of a trial: whole ones, and short ones from which a whole one is told.

A short call makes a few of the steps, where every step costs alike. What else is in a call, text
encoding and decode among it, is made whole.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from statistics import fmean
from typing import Any

from search_space.build import Build
from search_space.config import Config, steps_cost_alike
from tuner.measuring.call_parts import Stopwatch
from tuner.measuring.calls import Call, timed_call
from tuner.measuring.fidelity.metrics import noise_in_float32
from tuner.measuring.fidelity.outputs import output_of, recorded_latents

FEW_STEPS = 4
"""Fewer would tell a step by too few samples; the first of them is often a little slower."""

MANY_STEPS = 12
"""With fewer steps in a call little would be saved: three times what is made, at least."""


def few_steps(build: Build, config: Config) -> int | None:
    """How many steps a call that is timed in a search makes; None for all of them."""
    asked = asked_steps(build)
    is_worth_it = asked is not None and asked >= MANY_STEPS
    return FEW_STEPS if is_worth_it and steps_cost_alike(config) else None


def asked_steps(build: Build) -> int | None:
    """How many steps the user's call makes, or the pipeline of itself."""
    steps = build.call.get("num_inference_steps")
    if steps is None:
        parameter = inspect.signature(build.pipe.__call__).parameters.get("num_inference_steps")
        steps = None if parameter is None else parameter.default
    return steps if isinstance(steps, int) else None


def whole_call_s(call_s: float, parts_s: Mapping[str, tuple[float, ...]], count: int) -> float:
    """The seconds of a call of ``count`` steps, told from one that has made fewer."""
    made_s = parts_s.get("step", ())
    # Not the median: what is noise in the steps is in those of a whole call as well. The first one
    # also prepares, and is made once.
    return call_s + (count - len(made_s)) * fmean(made_s[1:]) if made_s[1:] else call_s


class Caller:
    """Makes the calls of a pipeline, while it is ``ready``; a whole one before any short one.

    The output of a whole call has the latents beside the images. ``few`` is how many steps a short
    one makes; None where there are none.
    """

    def __init__(self, build: Build, device: str, seed: int, few: int | None = None) -> None:
        self.few = few
        self._build, self._device, self._seed = build, device, seed
        self._stopwatch = Stopwatch(device)
        self._latents: list[Any] = []
        self._steps_of_whole = 0

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Calls are made while this lasts."""
        build = self._build
        with noise_in_float32(build.pipe), recorded_latents(build) as latents:
            self._latents = latents
            with self._stopwatch.on(build):
                yield

    def whole(self) -> Call:
        """Make a call of all steps."""
        made = self._made(self._build.call)
        self._steps_of_whole = len(made.parts_s.get("step", ()))
        return replace(made, output=output_of(made.output, self._latents))

    def short(self) -> Call:
        """Make a call of a few steps; its seconds are those that a whole one would take."""
        made = self._made({**self._build.call, "num_inference_steps": self.few})
        told_s = whole_call_s(made.call_s, made.parts_s, self._steps_of_whole)
        return replace(made, call_s=told_s, short_s=made.call_s, output=None)

    def again(self) -> float:
        """Make the shortest call that tells what a whole one takes; the seconds of that."""
        return (self.whole() if self.few is None else self.short()).call_s

    def _made(self, arguments: dict[str, Any]) -> Call:
        self._latents.clear()
        build = self._build
        return timed_call(build.pipe, arguments, self._device, self._seed, self._stopwatch)
