"""What a run is given from outside: who runs its trials, and who watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from search_space.config import Config, steps
from search_space.knob import Stage
from search_space.trial import Trial
from tuner.measuring.noise.neighbours import BUSY_CORES
from tuner.records.job import Job

WIDENED = 30.0
"""A deadline is widened this many times: beside a neighbour on one of two cores threads of
OpenMP were 10 to 50 times slower, and a failure that the neighbour caused would stay."""

BUSY_SHARE = 1 / 16
"""On a large machine a neighbour is one that takes more than this share of its cores."""


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

        Beside a neighbour that keeps a core busy calls take many times as long, and nobody knows
        how many: what was hopeless by far still ends.
        """
        more_cores = others_cores - self.others_cores
        if self.call_s is None or more_cores <= max(BUSY_CORES, BUSY_SHARE * cores):
            return self
        return replace(self, call_s=WIDENED * self.call_s)

    def phase_s(self, phase: str, config: Config) -> float:
        """How long a phase may take: the first calls of an engine may compile, others may not."""
        compiles = any(step.stage is Stage.ENGINE for step in steps(config))
        calls = {"record", "steady"}
        if not compiles:
            calls |= {"first_call", "second_call", "warm_up"}
        if self.call_s is None or phase not in calls:
            return self.trial_s
        return min(self.call_s, self.trial_s)
