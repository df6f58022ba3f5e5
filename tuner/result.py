"""What a run gives to whoever has asked for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_space.config import BASELINE
from search_space.trial import Trial
from tuner.records.figures import Figures
from tuner.records.progress import Ending
from tuner.records.tuned import TunedConfig


@dataclass(frozen=True)
class Result:
    """What a run has found and left behind.

    ``trials`` are those of the search, reused or new, the baseline first; ``raced`` are those of
    the races and ablations of its study. ``ending`` says what ended the search.
    """

    tuned: TunedConfig
    folder: Path
    trials: tuple[Trial, ...]
    raced: tuple[Trial, ...]
    reused: int
    ending: Ending
    reason: str
    stand_in: Trial | None = None
    """The trial whose output was compared with in the place of a baseline that did not run."""

    interrupted: bool = False
    store_error: str | None = None
    """Why the store failed for good, which has ended the run: the latest trial is not in it."""

    @property
    def best(self) -> Figures:
        """The winner's figures: latency in seconds, memory in bytes, fidelity."""
        return Figures.of(self.tuned.config, self.tuned.tuned)

    @property
    def baseline(self) -> Figures | None:
        """The same of the pipeline as diffusers makes it; None where it was not reached."""
        return None if self.tuned.baseline is None else Figures.of(BASELINE, self.tuned.baseline)

    @property
    def speedup(self) -> float | None:
        """The baseline's latency over the winner's in the race; None where there was no race."""
        return self.tuned.speedup

    @property
    def speedup_interval(self) -> tuple[float, float] | None:
        """The bounds of the speed-up's 95 % interval."""
        low, high = self.tuned.speedup_low, self.tuned.speedup_high
        return None if low is None or high is None else (low, high)

    def load(self, **options: Any) -> Any:
        """The tuned pipeline, ready to be called; options are those of ``tuner.load``."""
        from tuner.loader import load

        # Pickles that the run was allowed to read are the same ones.
        return load(self.folder, **{"allow_pickle": self.tuned.pickled, **options})
