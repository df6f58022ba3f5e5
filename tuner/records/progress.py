"""Whoever watches a run."""

from __future__ import annotations

from typing import Protocol

from search_space.trial import Config, Trial


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
