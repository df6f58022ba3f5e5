"""Time a pipeline: first call, warm-up, steady calls, steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from statistics import median, stdev
from typing import Any

MINIMUM_SAMPLES = 3
MAXIMUM_SAMPLES = 10
MAXIMUM_WARM_UPS = 3
STEADY_LIMIT_S = 30.0
"""After this long no further sample is taken, once there are three."""

WARM_DIFFERENCE = 0.03
HALF_WIDTH = {"cpu": 0.02}
HALF_WIDTH_ACCELERATOR = 0.01


@dataclass(frozen=True)
class Call:
    """One pipeline call: its output, its seconds and those of its steps."""

    output: Any
    call_s: float
    steps_s: tuple[float, ...]


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device != "cpu":
        import torch

        torch.accelerator.synchronize()


def timed_call(pipe: Any, arguments: dict[str, Any], device: str, seed: int) -> Call:
    """Call the pipeline with fresh generators and time it from before to after."""
    stamps: list[float] = []

    def on_step_end(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        stamps.append(time.perf_counter())
        return tensors

    arguments = {**arguments, "generator": generators(arguments, seed)}
    if "callback_on_step_end" in _parameters(pipe):
        arguments["callback_on_step_end"] = on_step_end
    synchronize(device)
    started_s = time.perf_counter()
    output = pipe(**arguments)
    synchronize(device)
    call_s = time.perf_counter() - started_s
    steps_s = tuple(later - earlier for earlier, later in pairwise(stamps))
    return Call(output, call_s, steps_s)


def generators(arguments: dict[str, Any], seed: int) -> Any:
    """A generator for the call, or one an image: an image is then the same in any batch."""
    import torch

    prompts = arguments.get("prompt")
    if not isinstance(prompts, list):
        return torch.Generator("cpu").manual_seed(seed)
    return [torch.Generator("cpu").manual_seed(seed + place) for place in range(len(prompts))]


def image_count(arguments: dict[str, Any]) -> int:
    """The number of images or videos that the call makes."""
    prompts = arguments.get("prompt")
    return len(prompts) if isinstance(prompts, list) else 1


def _parameters(pipe: Any) -> set[str]:
    import inspect

    return set(inspect.signature(pipe.__call__).parameters)


def measure(
    call: Callable[[], Call],
    enter: Callable[[str], None],
    device: str,
    cap_s: float | None,
    first: AbstractContextManager[None],
) -> tuple[dict[str, tuple[float, ...]], Any]:
    """Seconds by kind and the last output.

    ``enter`` is told ``first_call``, ``warm_up`` or ``steady`` before each call. A first steady
    call slower than ``cap_s`` is the last: this config cannot win any more. The first call is made
    within ``first``.
    """
    enter("first_call")
    with first:
        last = call()
    first_s = last.call_s
    warm_up_s: list[float] = []
    while not _warm([first_s, *warm_up_s]):
        enter("warm_up")
        last = call()
        warm_up_s.append(last.call_s)
    steady_s: list[float] = []
    while not _settled(steady_s, device, cap_s):
        enter("steady")
        last = call()
        steady_s.append(last.call_s)
    seconds = {"first_call": (first_s,), "warm_up": tuple(warm_up_s)}
    return {**seconds, "steady": tuple(steady_s), "step": last.steps_s}, last.output


def _warm(calls_s: list[float]) -> bool:
    if len(calls_s) < 2:
        return False
    before_s, last_s = calls_s[-2:]
    return len(calls_s) > MAXIMUM_WARM_UPS or abs(last_s - before_s) < WARM_DIFFERENCE * before_s


def _settled(steady_s: list[float], device: str, cap_s: float | None) -> bool:
    if steady_s and cap_s is not None and steady_s[0] > cap_s:
        return True
    if len(steady_s) < MINIMUM_SAMPLES:
        return False
    if len(steady_s) >= MAXIMUM_SAMPLES or sum(steady_s) > STEADY_LIMIT_S:
        return True
    # 1.96 standard errors; that of a median is 1.2533 times that of a mean of normal samples.
    half_width_s = 1.96 * 1.2533 * stdev(steady_s) / len(steady_s) ** 0.5
    return bool(half_width_s <= HALF_WIDTH.get(device, HALF_WIDTH_ACCELERATOR) * median(steady_s))
