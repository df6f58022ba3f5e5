"""What a run is given from outside: who runs its trials, and who watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from search_space.config import Config, steps
from search_space.knob import Stage
from search_space.trial import Trial
from tuner.measuring.noise.guard import LEAST_CORES
from tuner.records.job import Job

MOST_WIDENED = 10.0
"""A deadline is widened up to this many times: threads of OpenMP that must share their cores were
10 to 50 times slower, and beyond that a trial says nothing."""


class Runner(Protocol):
    """Runs jobs within deadlines and calls ``on_phase`` with each phase."""

    def __call__(self, job: Job, deadlines: Deadlines, on_phase: Callable[[str], None]) -> Trial:
        """The trial of a job that has the machine to itself."""

    def interleaved(
        self,
        jobs: Sequence[Job],
        deadlines: Deadlines,
        on_phase: Callable[[Job, str], None],
        first_turn: int,
    ) -> Iterator[Trial]:
        """The trials of jobs with interleaved calls, numbered from ``first_turn``."""


@dataclass(frozen=True)
class Deadlines:
    """How long a trial may take: in all, and for a call that nothing excuses for being slow.

    ``others_cores`` is how many cores other processes took while the call's limit was found.
    """

    trial_s: float
    call_s: float | None = None
    others_cores: float = 0.0

    def widened(self, others_cores: float, cores: int) -> Deadlines:
        """The limits where other processes take so many of the cores now.

        A call takes longer by the share of the machine that it has lost since its limit was found.
        """
        if self.call_s is None or others_cores <= self.others_cores + LEAST_CORES:
            return self
        then, now = cores - self.others_cores, cores - others_cores
        factor = min(MOST_WIDENED, max(1.0, then / max(now, then / MOST_WIDENED)))
        return replace(self, call_s=factor * self.call_s)

    def phase_s(self, phase: str, config: Config) -> float:
        """How long a phase may take: the first calls of an engine may compile, others may not."""
        compiles = any(step.stage is Stage.ENGINE for step in steps(config))
        calls = {"record", "steady"}
        if not compiles:
            calls |= {"first_call", "second_call", "warm_up"}
        if self.call_s is None or phase not in calls:
            return self.trial_s
        return min(self.call_s, self.trial_s)
