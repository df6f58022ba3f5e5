"""Which trials of earlier runs a search takes over, and which it tries anew."""

from __future__ import annotations

from pathlib import Path

from search_space.trial import OUT_OF_MEMORY, Failure, FailureKind, Trial


def lost_to_noise(trial: Trial) -> bool:
    """Whether a trial was cut short while something else was at work on the machine."""
    outcome = trial.outcome
    if isinstance(outcome, Failure):
        cut_short = outcome.kind is FailureKind.TIMEOUT
    else:
        cut_short = len(outcome.seconds["steady"]) == 1
    return cut_short and outcome.disturbed is not None


def usable_baseline(trial: Trial, reference: Path) -> bool:
    """A baseline is taken over if what trials are compared with is there, or if it never fits."""
    if isinstance(trial.outcome, Failure):
        return trial.outcome.kind in OUT_OF_MEMORY
    return reference.exists()
