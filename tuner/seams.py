"""What a run is given from outside: who runs its trials, and who watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from search_space.trial import Trial
from tuner.records.job import Job
from tuner.runner import Deadlines


class Runner(Protocol):
    """Runs jobs within deadlines, telling their phases: in processes, or a simulation."""

    def __call__(self, job: Job, deadlines: Deadlines, on_phase: Callable[[str], None]) -> Trial:
        """The trial of a job that has the machine for itself."""

    def in_turns(
        self, jobs: Sequence[Job], deadlines: Deadlines, on_phase: Callable[[Job, str], None]
    ) -> Iterator[Trial]:
        """The trials of jobs side by side, as they end."""
