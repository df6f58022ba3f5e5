"""What a run is asked to do, and where it keeps its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from search_space.budget import UNLIMITED, Budget
from search_space.config import changes
from search_space.errors import UsageError
from search_space.identity import fingerprint
from search_space.knob import Context, Tier
from search_space.space import Space
from search_space.trial import Config
from search_space.workload import Workload
from tuner.records.objective import LATENCY, Objective


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


@dataclass(frozen=True)
class Request:
    """What the user asked for: the workload, the limits and the pins."""

    workload: Workload
    cache_dir: Path
    device: str | None = None
    budget: Budget = UNLIMITED
    trials: int = 20
    time_limit_s: float | None = None
    trial_timeout_s: float = 600.0
    objective: Objective = LATENCY
    race_rounds: int = 3
    ablation: bool = True
    quality: Tier = Tier.NEAR
    allow_lossy: bool = False
    allow_remote_code: bool = False
    fix: Mapping[str, str] = field(default_factory=dict)
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    lpips: Path | None = None


def objective_of(name: str, images: int | None, batch_size: int) -> Objective:
    """The objective that was asked for; raises UsageError where images do not go with it."""
    if (name == "session") != (images is not None):
        raise UsageError("a session has a number of images: give --objective session --images 20")
    return Objective(name, images, batch_size if images else 1)


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
    )


def weights_folder(request: Request) -> str | None:
    """The folder of the weights for LPIPS, whatever the working folder, or None."""
    return None if request.lpips is None else str(request.lpips.absolute())
