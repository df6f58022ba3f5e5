"""Time a pipeline: first and second call, warm-up, steady calls, and the parts of these."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Protocol

from search_space.trial import RECOMPILES, Condition
from tuner.measuring.call_parts import Stopwatch
from tuner.measuring.interleaving import Alone, Turns
from tuner.records.statistics import half_width_s

MINIMUM_SAMPLES = 3
MAXIMUM_SAMPLES = 10
MAXIMUM_CALLS = 20
"""The most calls that may count, where some of them were disturbed."""

MAXIMUM_WARM_UPS = {"cpu": 3}
MAXIMUM_WARM_UPS_ACCELERATOR = 5
"""CUDA graphs are recorded in the second and third call."""

STEADY_LIMIT_S = 30.0
"""After this long no further sample is taken, once there are three."""

MAXIMUM_REPEATS = 5
"""The most disturbed calls of a trial that are waited out and repeated."""

MAXIMUM_EXCUSED = 2
"""The most disturbed first calls beyond the cap before one ends the trial."""

WARM_DIFFERENCE = 0.03
HALF_WIDTH = {"cpu": 0.02}
HALF_WIDTH_ACCELERATOR = 0.01


@dataclass(frozen=True)
class Call:
    """One pipeline call: its output, its seconds and those of its parts."""

    output: Any
    call_s: float
    parts_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class CallSamples:
    """The samples of a trial: seconds and turns of calls by kind, conditions, the last output."""

    seconds: Mapping[str, tuple[float, ...]]
    turns: Mapping[str, tuple[int, ...]]
    conditions: tuple[Condition, ...]
    output: Any


class MachineWatch(Protocol):
    """Watches the machine during calls: see ``tuner.measuring.noise.guard.Guard``."""

    def begin(self) -> None:
        """A call begins."""

    def end(self) -> tuple[Condition, ...]:
        """The call has ended; the machine's conditions during it."""

    def judge(self, conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
        """The conditions of a call with their complaints, by all that has been read by now."""

    def wait_until_calm(self) -> bool:
        """Wait until nothing disturbs; False where that takes too long."""


def synchronize(device: str) -> None:
    """Wait until the device has finished its work."""
    if device != "cpu":
        import torch

        torch.accelerator.synchronize()


def timed_call(
    pipe: Any,
    arguments: dict[str, Any],
    device: str,
    seed: int,
    stopwatch: Stopwatch | None = None,
) -> Call:
    """Call the pipeline with fresh generators, and time it."""
    stopwatch = stopwatch or Stopwatch(device)
    arguments = {**arguments, "generator": generators(arguments, seed)}
    if "callback_on_step_end" in _parameters(pipe):
        arguments["callback_on_step_end"] = stopwatch.on_step_end
    stopwatch.start()
    synchronize(device)
    started_s = time.perf_counter()
    output = pipe(**arguments)
    synchronize(device)
    call_s = time.perf_counter() - started_s
    return Call(output, call_s, stopwatch.read())


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
    guard: MachineWatch,
    turns: Turns | None = None,
) -> CallSamples:
    """Make the calls of a trial.

    ``enter`` is called with ``first_call``, ``second_call``, ``warm_up``, ``steady`` or ``wait`` as
    each begins. A first steady call slower than ``cap_s`` is the last: the config cannot win any
    more. Where it was disturbed, it is made again. The first call is made within ``first``.
    ``turns`` interleaves steady calls with those of other trials.
    """
    turns = turns or Alone()
    calls = _Sampler(call, enter, guard)
    with first:
        warm_up_s = [calls.make("first_call")]
    while not _warm(warm_up_s, device):
        warm_up_s.append(calls.make("second_call" if len(warm_up_s) == 1 else "warm_up"))
    compilations_before = compilations()
    while turns.another(_enough(calls, device, cap_s)):
        calls.make_steady(cap_s, turns.turn)
    return calls.samples(compilations() - compilations_before)


def compilations() -> int:
    """How many times torch has begun to compile something in this process."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return 0 if dynamo is None else int(dynamo.counters["frames"]["total"])


@dataclass(frozen=True, eq=False)
class _Sample:
    """A call, its turn and the machine's conditions; no other sample is equal to it."""

    call: Call
    conditions: tuple[Condition, ...]
    turn: int | None = None


class _Sampler:
    """Makes calls one by one and keeps a sample of each."""

    def __init__(
        self, call: Callable[[], Call], enter: Callable[[str], None], guard: MachineWatch
    ) -> None:
        self.steady: list[_Sample] = []
        self._disturbed: list[_Sample] = []
        self._seconds: dict[str, list[float]] = {"steady": [], "disturbed": []}
        self._turns: dict[str, list[int]] = {}
        self._conditions: list[Condition] = []
        self._output: Any = None
        self._calm_comes = True
        self._call = call
        self._enter = enter
        self._guard = guard

    def make(self, kind: str) -> float:
        sample = self._sample(kind)
        self._keep(kind, sample)
        return sample.call.call_s

    def make_steady(self, cap_s: float | None, turn: int | None) -> None:
        """Make a call that may count; where it was disturbed and calm returns, it is repeated."""
        sample = self._sample("steady", turn)
        counts = self.is_calm(sample) or not (self._calm_again() or self._excused(sample, cap_s))
        (self.steady if counts else self._disturbed).append(sample)

    def counting(self) -> list[_Sample]:
        """The steady calls that count: the calm ones, where these are enough, or all."""
        calm = [sample for sample in self.steady if self.is_calm(sample)]
        return calm if len(calm) >= MINIMUM_SAMPLES else self.steady

    def samples(self, recompiled: int) -> CallSamples:
        """All that was kept, and how often torch has compiled anew meanwhile."""
        counting = self.counting()
        for sample in counting:
            self._keep("steady", sample)
            for part, part_s in sample.call.parts_s.items():
                self._seconds.setdefault(part, []).extend(part_s)
        surplus = [sample for sample in self.steady if sample not in counting]
        for sample in (*self._disturbed, *surplus):
            self._keep("disturbed", sample)
        if recompiled:
            complaint = f"torch compiled anew {recompiled} times while calls were timed"
            self._conditions.append(Condition(RECOMPILES, recompiled, complaint))
        seconds = {kind: tuple(samples) for kind, samples in self._seconds.items()}
        turns = {kind: tuple(numbers) for kind, numbers in self._turns.items()}
        return CallSamples(seconds, turns, tuple(self._conditions), self._output)

    def _sample(self, kind: str, turn: int | None = None) -> _Sample:
        self._enter(kind)
        self._guard.begin()
        call = self._call()
        conditions = self._guard.end()
        self._output = call.output
        return _Sample(replace(call, output=None), conditions, turn)

    def is_calm(self, sample: _Sample) -> bool:
        """Whether nothing disturbed the call, by all that has been read by now."""
        return not any(condition.complaint for condition in self._guard.judge(sample.conditions))

    def _calm_again(self) -> bool:
        # Where it has not come once, the calls to follow are a better use of the time.
        if not self._calm_comes or len(self._disturbed) >= MAXIMUM_REPEATS:
            return False
        self._enter("wait")
        self._calm_comes = self._guard.wait_until_calm()
        return self._calm_comes

    def _excused(self, sample: _Sample, cap_s: float | None) -> bool:
        is_beyond_cap = cap_s is not None and not self.steady and sample.call.call_s > cap_s
        return is_beyond_cap and len(self._disturbed) < MAXIMUM_EXCUSED

    def _keep(self, kind: str, sample: _Sample) -> None:
        samples_s = self._seconds.setdefault(kind, [])
        position = len(samples_s)
        samples_s.append(sample.call.call_s)
        if sample.turn is not None:
            self._turns.setdefault(kind, []).append(sample.turn)
        for condition in self._guard.judge(sample.conditions):
            self._conditions.append(replace(condition, sample=kind, position=position))


def _warm(calls_s: list[float], device: str) -> bool:
    if len(calls_s) < 2:
        return False
    before_s, last_s = calls_s[-2:]
    most_warm_ups = MAXIMUM_WARM_UPS.get(device, MAXIMUM_WARM_UPS_ACCELERATOR)
    return len(calls_s) > most_warm_ups or abs(last_s - before_s) < WARM_DIFFERENCE * before_s


def _enough(calls: _Sampler, device: str, cap_s: float | None) -> bool:
    calls_s = [sample.call.call_s for sample in calls.steady]
    if calls_s and cap_s is not None and calls_s[0] > cap_s:
        return True
    if len(calls_s) < MINIMUM_SAMPLES:
        return False
    if len(calls_s) >= MAXIMUM_CALLS or sum(calls_s) > STEADY_LIMIT_S:
        return True
    if sum(map(calls.is_calm, calls.steady)) >= MAXIMUM_SAMPLES:
        return True
    share = HALF_WIDTH.get(device, HALF_WIDTH_ACCELERATOR)
    counting_s = [sample.call.call_s for sample in calls.counting()]
    return half_width_s(counting_s) <= share * median(counting_s)
