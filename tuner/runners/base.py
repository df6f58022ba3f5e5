"""What a run is given from outside: who runs its trials, and who watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from search_space.config import steps
from search_space.knob import Stage
from search_space.trial import Config, Trial
from tuner.records.job import Job


class Runner(Protocol):
    """Runs jobs within deadlines, telling their phases: in processes, or a simulation."""

    def __call__(self, job: Job, deadlines: Deadlines, on_phase: Callable[[str], None]) -> Trial:
        """The trial of a job that has the machine for itself."""

    def interleaved(
        self, jobs: Sequence[Job], deadlines: Deadlines, on_phase: Callable[[Job, str], None]
    ) -> Iterator[Trial]:
        """The trials of jobs side by side, as they end."""


@dataclass(frozen=True)
class Deadlines:
    """How long a trial may take: in all, and for a call that nothing excuses for being slow."""

    trial_s: float
    call_s: float | None = None

    def phase_s(self, phase: str, config: Config) -> float:
        """How long a phase may take: the first calls of an engine may compile, others may not."""
        compiles = any(step.stage is Stage.ENGINE for step in steps(config))
        calls = {"record", "steady"}
        if not compiles:
            calls |= {"first_call", "second_call", "warm_up"}
        if self.call_s is None or phase not in calls:
            return self.trial_s
        return min(self.call_s, self.trial_s)
