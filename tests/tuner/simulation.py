"""A machine whose figures are known: stands in the place of trial processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy

from search_space.budget import UNLIMITED
from search_space.config import Config, completed
from search_space.hardware.machine import Machine
from search_space.knob import Context
from search_space.pipeline.spec import Component, PipelineSpec
from search_space.space import Space
from search_space.trial import Condition, Failure, FailureKind, Measurement, Peak, Trial
from search_space.workload import Workload
from tuner.records.job import Job
from tuner.records.plan import Plan
from tuner.records.progress import Ending, Progress, Reuse
from tuner.run import Run
from tuner.runners.base import Deadlines

GIB = 2**30
FACTORS = {
    "precision": {"bf16": 0.5, "fp16": 40.0},
    "attention": {"plain": 1.2},
    "attention_slicing": {"auto": 1.3, "max": 1.6},
    "memory_format": {"channels_last": 0.9},
    "engine": {"compile-default": 0.6, "compile-max-autotune": 0.62, "onnxruntime": 0.95},
}
BEST = {"precision": "bf16", "memory_format": "channels_last", "engine": "compile-default"}
SEARCHED = 7
"""The trials of a search before a race."""

NEIGHBOUR = Condition("others_cores", 0.9, "", "steady")


@dataclass
class Simulation:
    """Runs jobs without a process: latency is a product over knobs, memory a sum."""

    jobs: list[Job] = field(default_factory=list)
    deadlines: list[Deadlines] = field(default_factory=list)
    failing: Callable[[dict[str, str]], FailureKind | None] = lambda config: None
    unlike: Callable[[dict[str, str]], bool] = lambda config: False
    noise: float = 0.0
    drift: float = 0.0
    """By which share the machine is slower with each job."""
    together: list[int] = field(default_factory=list)
    """How many jobs were run side by side each time."""

    def __post_init__(self) -> None:
        self._generator = numpy.random.default_rng(0)

    def __call__(self, job: Job, deadlines: Deadlines, on_phase: Callable[[str], None]) -> Trial:
        self.jobs.append(job)
        self.deadlines.append(deadlines)
        on_phase("load")
        config = dict(job.config)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        outcome = self.outcome(config, job)
        if job.output is not None and isinstance(outcome, Measurement):
            Path(job.output).touch()
        return Trial(Config(config), outcome, 1.0, now)

    def interleaved(self, jobs, deadlines, on_phase, first_turn):
        self.together.append(len(jobs))
        for job in jobs:
            yield self(job, deadlines, partial(on_phase, job))

    def outcome(self, config: dict[str, str], job: Job) -> Measurement | Failure:
        kind = self.failing(config)
        if kind is not None:
            return Failure(kind, f"a {kind.value} was asked for", "steady")
        latency_s = 10.0
        for name, value in config.items():
            latency_s *= FACTORS.get(name, {}).get(value, 1.0)
        latency_s *= (1 + self.drift) ** len(self.jobs)
        process = self._generator.normal(0, self.noise)
        steady_s = latency_s * numpy.exp(process + self._generator.normal(0, self.noise, 3))
        start_s = 20.0 if "engine" in config else 1.0
        seconds = {"load": (start_s,), "first_call": (2 * latency_s,), "steady": tuple(steady_s)}
        peak = Peak("host", "steady", "simulated", peak_bytes(config))
        return Measurement(seconds, (peak,), self.fidelity(config, job))

    def fidelity(self, config: dict[str, str], job: Job) -> dict[str, float]:
        """The reference's own floor; otherwise lossless, or lossy where that was asked for."""
        floor = {"floor_psnr_db": 120.0, "floor_ssim": 1.0}
        if job.reference is None:
            return floor
        unlike = {"psnr_db": 22.0, "ssim": 0.8}
        return {**(unlike if self.unlike(config) else {"psnr_db": 40.0, "ssim": 0.99}), **floor}


def peak_bytes(config: dict[str, str]) -> int:
    """4 GiB, half in half precision, 3 GiB more with a compiled engine."""
    chosen = completed(config)
    weights = 4 * GIB if chosen["precision"] == "fp32" else 2 * GIB
    return weights + (3 * GIB if chosen["engine"] != "eager" else 0)


def context(device: str = "cpu", **workload: object) -> Context:
    """A described machine and an SD 1.5 like pipeline."""
    can = {"slices_attention": True, "repeats_blocks": True}
    unet = Component("unet", "UNet2DConditionModel", 10**6, 5, 4, ("AttnProcessor2_0",), **can)
    vae = Component("vae", "AutoencoderKL", 10**5, 5, 4, slices=True, tiles=True, tile_px=512)
    spec = PipelineSpec(
        "folder",
        "StableDiffusionPipeline",
        "b2:1",
        (unet,),
        vae,
        call_parameters=("prompt", "height", "width"),
        size_multiple_px=8,
    )
    machine = Machine(
        device,
        "a described machine",
        8 * GIB,
        16 * GIB,
        8,
        "Linux x86_64",
        ("fp32", "bf16"),
        probes={"CPUExecutionProvider": None},
    )
    return Context(machine, spec, Workload("model", "b2:1", 512, 512, steps=4, **workload))


class Quiet(Progress):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def planned(self, plan: Plan, reuse: Reuse, notes: Sequence[str]) -> None:
        self.told.append(("planned", len(reuse.trials), *notes))

    def searched(self, ending: Ending) -> None:
        self.told.append(("searched", ending))

    def racing(self, purpose: str, round: int, rounds: int, trials_left: int) -> None:
        self.told.append((purpose, round, rounds, trials_left))

    def started(self, position: int, config: object) -> None:
        self.told.append(("started", position))

    def phase(self, name: str) -> None:
        self.told.append(("phase", name))

    def finished(self, trial: Trial) -> None:
        self.told.append(("finished", trial.number))


def plan(tmp_path, trials=20, budget=UNLIMITED, time_limit_s=None, fix=None, include=()):
    space = Space(context(), fix, include or tuple(FACTORS))
    return Plan(space, budget, trials, time_limit_s, 600.0, tmp_path / "cache")


def go(plan, store, simulation=None):
    run = Run(plan)
    run.go(store, simulation or Simulation(), Quiet())
    return run


def go_noisily(plan, store, simulation=None):
    """The same, where no two processes take the same: what a race makes its intervals of."""
    return go(plan, store, simulation or Simulation(noise=0.003))


def of(store, purpose):
    return [stored.trial for stored in store.trials() if stored.trial.purpose == purpose]
