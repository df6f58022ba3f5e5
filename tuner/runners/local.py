"""Trials in processes on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from search_space.trial import Trial
from tuner.processes.children import Children
from tuner.records.job import Job
from tuner.runners.base import Deadlines
from tuner.runners.interleaved import run_interleaved
from tuner.runners.trial_process import run_trial


@dataclass(frozen=True)
class LocalRunner:
    """Runs the trials of a run."""

    children: Children

    def __call__(self, job: Job, deadlines: Deadlines, on_phase: Callable[[str], None]) -> Trial:
        """The trial of a job that has the machine for itself."""
        return run_trial(self.children, job, deadlines, on_phase)

    def interleaved(
        self,
        jobs: Sequence[Job],
        deadlines: Deadlines,
        on_phase: Callable[[Job, str], None],
        first_turn: int,
    ) -> Iterator[Trial]:
        """The trials of jobs with interleaved calls, as they end."""
        return run_interleaved(self.children, jobs, deadlines, on_phase, first_turn=first_turn)
