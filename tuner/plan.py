"""What a run is asked to do, and where it keeps its files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from search_space.budget import Budget
from search_space.identity import fingerprint
from search_space.space import Space, changes
from search_space.trial import Config
from search_space.workload import Workload
from tuner.objective import LATENCY, Objective


@dataclass(frozen=True)
class Plan:
    """What a run is asked to do; ``trials`` counts those of earlier runs that it takes over.

    With no ``race_rounds`` the winner is not raced, and so not ablated either. LPIPS is measured
    too where ``lpips`` names the folder of its weights.
    """

    space: Space
    memory: Budget
    trials: int
    time_limit_s: float | None
    trial_timeout_s: float
    cache_dir: Path
    objective: Objective = LATENCY
    race_rounds: int = 0
    ablation: bool = True
    lpips: str | None = None

    @property
    def workload(self) -> Workload:
        """What is generated."""
        return self.space.context.workload

    @property
    def budget(self) -> Budget:
        """The budgets of memory, and the quality that the space keeps to."""
        return replace(self.memory, quality=self.space.context.quality)

    @property
    def reference(self) -> Path:
        """Where the output lies that every trial is compared with."""
        return self.cache_dir / "baselines" / f"{self._name}.npz"

    @property
    def compiled(self) -> Path:
        """Where inductor keeps, while a run lasts, what it has compiled for each config."""
        return self.cache_dir / "compiled" / self._name

    @property
    def _name(self) -> str:
        machine = self.space.context.machine
        parts = [machine.fingerprint, machine.software_fingerprint, self.workload.fingerprint]
        return fingerprint(parts).removeprefix("b2:")

    def pictures(self, config: Config) -> Path:
        """Where a few images of a config lie, for the contact sheet."""
        name = fingerprint(changes(config)).removeprefix("b2:")
        return self.reference.with_suffix("") / f"{name}.npz"
