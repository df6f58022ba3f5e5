"""The plan of a run, and the places of its files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from search_space.budget import Budget
from search_space.config import Config
from search_space.identity import fingerprint
from search_space.knob import Context
from search_space.space import Space
from search_space.workload import Workload
from tuner.records.objective import LATENCY, Objective
from tuner.records.request import DEFAULT_SAMPLER, Request, weights_folder
from tuner.records.rules import Rules


@dataclass(frozen=True)
class Plan:
    """The plan of a run; ``trials`` counts the reused trials of earlier runs, too.

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
    sampler: str = DEFAULT_SAMPLER
    target_speedup: float | None = None

    @property
    def workload(self) -> Workload:
        return self.space.context.workload

    @property
    def budget(self) -> Budget:
        """The budgets of memory, and the quality that the space keeps to."""
        return replace(self.memory, quality=self.space.context.quality)

    @property
    def rules(self) -> Rules:
        return Rules(self.budget, self.objective, self.space.choices)

    @property
    def reference(self) -> Path:
        """The file of the output that every trial is compared with."""
        return self.cache_dir / "baselines" / f"{self._name}.npz"

    @property
    def compiled(self) -> Path:
        """Where runs keep, while they last, what inductor compiles."""
        return self.cache_dir / "compiled"

    def subject(self, config: Config) -> str:
        """What a run claims that measures a config: by every run that could reuse the trial."""
        return f"{self._name} {config.key}"

    @property
    def _name(self) -> str:
        machine = self.space.context.machine
        parts = [machine.fingerprint, machine.software_fingerprint, self.workload.fingerprint]
        return fingerprint(parts).removeprefix("b2:")

    def pictures(self, config: Config) -> Path:
        """Where a few images of a config lie, for the contact sheet."""
        return self.reference.with_suffix("") / f"{config.key}.npz"


def plan_run(context: Context, request: Request) -> Plan:
    """The plan of a run; raises UsageError where a pin cannot hold."""
    return Plan(
        space=Space(context, request.fix, request.include, request.exclude),
        memory=request.budget,
        trials=request.trials,
        time_limit_s=request.time_limit_s,
        trial_timeout_s=request.trial_timeout_s,
        cache_dir=request.cache_dir,
        objective=request.objective,
        race_rounds=request.race_rounds,
        ablation=request.ablation,
        lpips=weights_folder(request),
        sampler=request.sampler,
        target_speedup=request.target_speedup,
    )
