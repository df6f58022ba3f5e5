"""What a run is given from outside: who runs its trials, and who watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from search_space.trial import Config, Trial
from tuner.runner import Deadlines
from tuner.worker import Job


class Progress(Protocol):
    """Told what the loop does, for whoever watches."""

    def remembered(self, trials: list[Trial]) -> None:
        """Trials of earlier runs are taken over."""

    def racing(self, purpose: str, round: int, rounds: int, left: int) -> None:
        """A race is in this round of so many; so many trials are left, as far as one can say."""

    def started(self, position: int, config: Config) -> None:
        """A trial begins, the ``position``-th of the run, counted from 1."""

    def phase(self, name: str) -> None:
        """The trial enters a phase."""

    def finished(self, trial: Trial) -> None:
        """The trial is in the ledger."""


class Runner(Protocol):
    """Runs jobs within deadlines, telling their phases: in processes, or a simulation."""

    def __call__(self, job: Job, deadlines: Deadlines, on_phase: Callable[[str], None]) -> Trial:
        """The trial of a job that has the machine for itself."""

    def in_turns(
        self, jobs: Sequence[Job], deadlines: Deadlines, on_phase: Callable[[Job, str], None]
    ) -> Iterator[Trial]:
        """The trials of jobs side by side, as they end."""
