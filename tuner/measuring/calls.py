"""Time a pipeline: first and second call, warm-up, steady calls, and the parts of these."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from search_space.trial import INCUMBENT, INCUMBENT_KNOWN, RECOMPILES, Condition
from tuner.measuring.call_parts import Stopwatch
from tuner.measuring.interleaving import Alone, Turns
from tuner.measuring.precision import (
    MINIMUM_SAMPLES,
    MOST_SEARCHED,
    Precision,
    searched,
    settled,
    warm,
)


@dataclass(frozen=True)
class Call:
    """One pipeline call: its output, its seconds and those of its parts."""

    output: Any
    call_s: float
    parts_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    short_s: float | None = None
    """What was read, where only a few steps were made and ``call_s`` is told from them."""


@dataclass(frozen=True)
class CallSamples:
    """The samples of a trial: seconds and turns of calls by kind, conditions, the last output.

    A trial whose calls take longer than its cap has not won, and ``may_win`` no more.
    """

    seconds: Mapping[str, tuple[float, ...]]
    turns: Mapping[str, tuple[int, ...]]
    conditions: tuple[Condition, ...]
    output: Any
    may_win: bool = True


class MachineWatch(Protocol):
    """Watches the machine during calls: see ``tuner.measuring.noise.guard.Guard``."""

    def begin(self) -> None:
        """A call begins."""

    def end(self) -> tuple[Condition, ...]:
        """The call has ended; the machine's conditions during it."""


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
    precision: Precision,
    first: AbstractContextManager[None],
    guard: MachineWatch,
    turns: Turns | None = None,
    short: Callable[[], Call] | None = None,
) -> CallSamples:
    """Make the calls of a trial.

    ``enter`` is called with ``first_call``, ``second_call``, ``warm_up`` or ``steady`` as each
    begins. The first call is made within ``first``. ``turns`` interleaves steady calls with those
    of other trials. After the first all calls are ``short`` ones, where there are such: the output
    is that of the last whole call.
    """
    turns = turns or Alone()
    calls = _Sampler(call, enter, guard)
    with first:
        warm_up_s = [calls.make("first_call")]
    if short is not None:
        calls.go_on_with(short)
    while not warm(warm_up_s, device, precision.precise):
        warm_up_s.append(calls.make("second_call" if len(warm_up_s) == 1 else "warm_up"))
    compilations_before = compilations()
    while turns.another(calls.enough(device, precision, turns.incumbent_s)):
        calls.make_steady(turns.turn)
    recompiled = compilations() - compilations_before
    samples = calls.samples(recompiled, turns.incumbent_s, precision.beside_s)
    return replace(samples, may_win=not calls.beaten(precision, turns.incumbent_s))


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

    @property
    def is_calm(self) -> bool:
        return not any(condition.complaint for condition in self.conditions)


class _Sampler:
    """Makes calls one by one and keeps a sample of each."""

    def __init__(
        self, call: Callable[[], Call], enter: Callable[[str], None], guard: MachineWatch
    ) -> None:
        self.steady: list[_Sample] = []
        self._seconds: dict[str, list[float]] = {"steady": []}
        self._turns: dict[str, list[int]] = {}
        self._conditions: list[Condition] = []
        self._output: Any = None
        self._call = call
        self._enter = enter
        self._guard = guard

    def go_on_with(self, short: Callable[[], Call]) -> None:
        """From here on make these calls."""
        self._call = short

    def make(self, kind: str) -> float:
        sample = self._sample(kind)
        self._keep(kind, sample)
        return sample.call.call_s

    def make_steady(self, turn: int | None) -> None:
        """Make a call that may count."""
        self.steady.append(self._sample("steady", turn))

    def counting(self) -> list[_Sample]:
        """The steady calls that count: the calm ones, where these are enough, or all."""
        calm = [sample for sample in self.steady if sample.is_calm]
        return calm if len(calm) >= MINIMUM_SAMPLES else self.steady

    def enough(self, device: str, precision: Precision, incumbent_s: Mapping[int, float]) -> bool:
        """Whether the trial has the calls that its decision needs."""
        if precision.precise:
            calls_s = [sample.call.call_s for sample in self.steady]
            return settled(calls_s, [sample.call.call_s for sample in self.counting()], device)
        values_s = self._values_s(precision, incumbent_s)
        is_sure = len(values_s) > 1 or all(sample.is_calm for sample in self.steady)
        return searched(values_s, is_sure, precision) or len(self.steady) >= MOST_SEARCHED

    def beaten(self, precision: Precision, incumbent_s: Mapping[int, float]) -> bool:
        """Whether every call took longer than the cap."""
        values_s = self._values_s(precision, incumbent_s)
        return precision.cap_s is not None and min(values_s, default=0.0) > precision.cap_s

    def _values_s(self, precision: Precision, incumbent_s: Mapping[int, float]) -> list[float]:
        """Seconds of the steady calls, told by the incumbent's where these lay beside them."""
        if precision.beside_s is None or not incumbent_s:
            return [sample.call.call_s for sample in self.steady]
        return [
            sample.call.call_s / incumbent_s[sample.turn] * precision.beside_s
            for sample in self.steady
            if sample.turn is not None and sample.turn in incumbent_s
        ]

    def samples(
        self, recompiled: int, incumbent_s: Mapping[int, float], known_s: float | None
    ) -> CallSamples:
        """All that was kept, and how often torch has compiled anew meanwhile."""
        counting = self.counting()
        for sample in counting:
            self._keep("steady", sample)
            for part, part_s in sample.call.parts_s.items():
                self._seconds.setdefault(part, []).extend(part_s)
        for sample in (sample for sample in self.steady if sample not in counting):
            self._keep("disturbed", sample)
        if incumbent_s and known_s is not None:
            self._seconds |= {INCUMBENT: list(incumbent_s.values()), INCUMBENT_KNOWN: [known_s]}
            self._turns[INCUMBENT] = list(incumbent_s)
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
        if call.short_s is None:
            self._output = call.output
        return _Sample(replace(call, output=None), conditions, turn)

    def _keep(self, kind: str, sample: _Sample) -> None:
        samples_s = self._seconds.setdefault(kind, [])
        position = len(samples_s)
        samples_s.append(sample.call.call_s)
        if sample.call.short_s is not None and kind == "steady":
            self._seconds.setdefault("short", []).append(sample.call.short_s)
        if sample.turn is not None:
            self._turns.setdefault(kind, []).append(sample.turn)
        for condition in sample.conditions:
            self._conditions.append(replace(condition, sample=kind, position=position))
