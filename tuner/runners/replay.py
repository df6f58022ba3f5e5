"""Trials replayed from a table: no pipeline and no process, the same figures every time."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

from search_space.config import Config
from search_space.trial import Failure, FailureKind, Measurement, Trial
from tuner.measuring.memory.limits import STOP, STOP_SLACK_BYTES
from tuner.records.job import Job
from tuner.runners.base import Deadlines

CALLS = 3
"""Steady calls of a trial that has the machine to itself, as few as a search trial makes."""

TURNS = 5
"""Steady calls of a trial of a race: a round's interval is made of them."""

WARMING = ("first_call", "second_call", "warm_up")
"""The calls before the steady ones."""

PARTS = ("text_encoding", "step", "decode")
"""The parts of a call, as ``tuner.measuring.call_parts`` names them."""

UNCHARGED = ("wait", "disturbed", *PARTS)
"""Kinds of seconds that belong to no phase of their own, or are spent for no config's sake."""

OF_TRIAL = 0.7
"""The share of the noise that a trial's calls have in common; each call has as much of its own,
and the median of three is then off by about the noise that was asked for."""


@dataclass(frozen=True)
class Recorded:
    """What a table has of a config: the outcome, and the seconds that a trial of it is charged."""

    outcome: Measurement | Failure
    cost_s: float


class Table(Protocol):
    """Knows what became, or would become, of each config."""

    def recorded(self, config: Config) -> Recorded:
        """The record of a config; raises KeyError where there is none."""


class ReplayRunner:
    """Answers jobs from a table, and adds up the seconds that they would have taken.

    The seconds of calls are spread by ``noise``, the standard deviation of their logarithm, drawn
    for each config and repetition from a hash of these and ``seed``.
    """

    def __init__(self, table: Table, noise: float = 0.0, seed: int = 0) -> None:
        self.charged_s = 0.0
        """The seconds of all trials so far."""
        self._table = table
        self._noise = noise
        self._seed = seed
        self._repetitions: Counter[Config] = Counter()

    def __call__(self, job: Job, deadlines: Deadlines, on_phase: Callable[[str], None]) -> Trial:
        """The trial of a job, of as many calls as a search needs."""
        factors = self._factors(job.config, CALLS)
        return self._replayed(job, deadlines, on_phase, factors)

    def interleaved(
        self,
        jobs: Sequence[Job],
        deadlines: Deadlines,
        on_phase: Callable[[Job, str], None],
        first_turn: int,
    ) -> Iterator[Trial]:
        """The trials of jobs; what slows the machine in a turn slows all of its calls alike."""
        turns = range(first_turn, first_turn + TURNS)
        of_turns = [self._factor("turn", turn) for turn in turns]
        for job in jobs:
            own = self._factors(job.config, TURNS)
            factors = [call * turn for call, turn in zip(own, of_turns, strict=True)]
            trial = self._replayed(job, deadlines, partial(on_phase, job), factors)
            outcome = trial.outcome
            if isinstance(outcome, Measurement):
                made = len(outcome.seconds["steady"])
                outcome = replace(outcome, turns={"steady": tuple(turns)[:made]})
            yield replace(trial, outcome=outcome)

    def _replayed(
        self,
        job: Job,
        deadlines: Deadlines,
        on_phase: Callable[[str], None],
        factors: Sequence[float],
    ) -> Trial:
        recorded = self._table.recorded(job.config)
        if isinstance(recorded.outcome, Failure):
            on_phase(recorded.outcome.phase)
            return self._trial(job, recorded.outcome, recorded.cost_s)
        measurement = _with_calls(recorded.outcome, factors, job.cap_s)
        stopped = _out_of_memory(job, measurement) or _too_late(job, measurement, deadlines)
        if stopped is not None:
            failure, cost_s = stopped
            on_phase(failure.phase)
            return self._trial(job, failure, cost_s)
        for phase in _phases(measurement):
            on_phase(phase)
        if job.output is not None:
            Path(job.output).touch()
        calls_s, recorded_s = measurement.seconds["steady"], recorded.outcome.seconds["steady"]
        return self._trial(job, measurement, recorded.cost_s + sum(calls_s) - sum(recorded_s))

    def _trial(self, job: Job, outcome: Measurement | Failure, cost_s: float) -> Trial:
        self.charged_s += cost_s
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return Trial(job.config, outcome, cost_s, now)

    def _factors(self, config: Config, calls: int) -> list[float]:
        """By how much each call of the config's next trial is slower than the table says."""
        repetition = self._repetitions[config]
        self._repetitions[config] += 1
        common = self._factor(config.key, repetition)
        return [common * self._factor(config.key, repetition, call) for call in range(calls)]

    def _factor(self, *of: object) -> float:
        digest = blake2b(repr((self._seed, *of)).encode(), digest_size=8).digest()
        drawn = random.Random(int.from_bytes(digest, "big")).gauss(0.0, OF_TRIAL * self._noise)
        return math.exp(drawn)


def _with_calls(
    recorded: Measurement, factors: Sequence[float], cap_s: float | None
) -> Measurement:
    """The measurement with steady calls made anew; one beyond the cap is the last."""
    samples_s = recorded.seconds["steady"]
    calls_s = [samples_s[call % len(samples_s)] * factor for call, factor in enumerate(factors)]
    if cap_s is not None and calls_s[0] > cap_s * recorded.counted:
        calls_s = calls_s[:1]
    seconds: dict[str, tuple[float, ...]] = {**recorded.seconds, "steady": tuple(calls_s)}
    for kind in WARMING:
        if kind in recorded.seconds:
            seconds[kind] = tuple(factors[0] * sample_s for sample_s in recorded.seconds[kind])
    for part in seconds.keys() & set(PARTS):
        part_s = recorded.seconds[part]
        seconds[part] = tuple(_of_calls(part_s, len(samples_s), calls_s, factors))
    return replace(recorded, seconds=seconds)


def _of_calls(
    part_s: Sequence[float], calls_recorded: int, calls_s: Sequence[float], factors: Sequence[float]
) -> Iterator[float]:
    """The samples of a part of each call that is made."""
    each = len(part_s) // calls_recorded
    for call, factor in zip(range(len(calls_s)), factors, strict=False):
        first = call % calls_recorded * each
        yield from (factor * sample_s for sample_s in part_s[first : first + each])


def _phases(measurement: Measurement) -> list[str]:
    """The phases of a trial in their order, as far as the seconds name them."""
    kinds = [kind for kind in measurement.seconds if kind not in UNCHARGED]
    calls = [kind for kind in (*WARMING, "steady") if kind in kinds]
    last = [kind for kind in ("check",) if kind in kinds]
    return [kind for kind in kinds if kind not in (*calls, *last)] + calls + last


def _out_of_memory(job: Job, measurement: Measurement) -> tuple[Failure, float] | None:
    """The failure of a trial that needs more than is enforced, and its seconds until then."""
    host_bytes = job.budget.on_host(job.device)
    limits_bytes = {
        "device": job.budget.on_device(job.device),
        # Of the machine in the table, which need not be this one.
        "host": None if host_bytes is None else int(STOP * host_bytes) + STOP_SLACK_BYTES,
    }
    kinds = {
        "device": FailureKind.DEVICE_OUT_OF_MEMORY,
        "host": FailureKind.HOST_OUT_OF_MEMORY,
    }
    spent_s = 0.0
    for phase in _phases(measurement):
        for peak in measurement.peaks:
            limit_bytes = limits_bytes.get(peak.place)
            if peak.phase == phase and limit_bytes is not None and peak.peak_bytes > limit_bytes:
                message = f"the {peak.place} ran out of memory"
                held_bytes = peak.peak_bytes if peak.place == "host" else None
                failure = Failure(kinds[peak.place], message, phase, peak_bytes=held_bytes)
                return failure, spent_s + measurement.seconds[phase][0]
        spent_s += sum(measurement.seconds[phase])
    return None


def _too_late(
    job: Job, measurement: Measurement, deadlines: Deadlines
) -> tuple[Failure, float] | None:
    """The failure of a trial that misses a deadline, and its seconds until then."""
    spent_s = 0.0
    for phase in _phases(measurement):
        limit_s = deadlines.phase_s(phase, job.config)
        for sample_s in measurement.seconds[phase]:
            late_s = min(limit_s, deadlines.trial_s - spent_s)
            if sample_s > late_s:
                message = f"{phase} was not done after {late_s:.0f} s"
                return Failure(FailureKind.TIMEOUT, message, phase), spent_s + late_s
            spent_s += sample_s
    return None


def charged(seconds: Mapping[str, Sequence[float]]) -> float:
    """The seconds of all phases of a trial."""
    return sum(sum(samples) for kind, samples in seconds.items() if kind not in UNCHARGED)
