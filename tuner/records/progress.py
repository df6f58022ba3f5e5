"""The progress of a run, for whoever watches it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from search_space.config import Config
from search_space.proposal import Proposal
from search_space.trial import Purpose, Trial
from tuner.records.plan import Plan


class Ending(StrEnum):
    """What ended a search."""

    TRIALS = "trials"
    TIME = "time"
    EXHAUSTED = "exhausted"
    CONVERGED = "converged"
    TARGET = "target"
    INTERRUPTED = "interrupted"
    STORE = "store"


@dataclass(frozen=True)
class Reuse:
    """The trials of earlier runs that a search reuses, the baseline first.

    ``repeated`` counts those that it tries once more, because they were cut short while the machine
    was disturbed.
    """

    trials: tuple[Trial, ...] = ()
    repeated: int = 0


class Progress:
    """Watches a run and does nothing; subclasses show or store the progress."""

    def planned(self, plan: Plan, reuse: Reuse, notes: Sequence[str]) -> None:
        """The search begins; the notes are sentences about the machine and earlier runs."""

    def predicted(self, prediction: Proposal) -> None:
        """What other workloads and machines let expect, before any trial."""

    def proposed(self, proposal: Proposal) -> None:
        """The search will try this next."""

    def started(self, position: int, config: Config) -> None:
        """A trial begins, the ``position``-th of the run, counted from 1."""

    def phase(self, name: str) -> None:
        """The trial enters a phase."""

    def finished(self, trial: Trial) -> None:
        """The trial is in the ledger."""

    def shared(self, trial: Trial) -> None:
        """Another run has measured this meanwhile: the trial is reused."""

    def waiting(self, sentence: str) -> None:
        """Another run measures what this one needs next."""

    def searched(self, ending: Ending) -> None:
        """The search has ended; a race may follow."""

    def race_planned(self, purpose: Purpose, entrants: int, expected_s: float) -> None:
        """A race begins, and two rounds of it are expected to take so long."""

    def race_skipped(self, purpose: Purpose) -> None:
        """The time limit leaves no time for a race."""

    def racing(self, purpose: Purpose, round: int, rounds: int, trials_left: int) -> None:
        """A race is in this round; about ``trials_left`` trials are due, fewer if some drop out."""
