"""The pipelines on one device: processes for their trials, and the images of each default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from search_space.catalog import all_probes, check_known
from search_space.config import BASELINE, Config
from search_space.hardware.machine import Machine
from search_space.knob import Context, Tier
from search_space.pipeline.spec import PipelineSpec
from search_space.space import Space
from search_space.trial import Trial
from tests.benchmarks.hand_timing import PLACE
from tests.gpu.models import MODELS
from tests.machines import described
from tuner.discovery.probing import HEAD_SIZE, find_device, probed
from tuner.processes.children import Children
from tuner.records.job import Job
from tuner.runners.base import Deadlines
from tuner.runners.trial_process import TRIAL, run_trial

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Setting:
    """A pipeline on the device: what can be chosen, the job of its default, and its images."""

    space: Space
    job: Job
    reference: Path

    def job_of(self, config: Mapping[str, str], compiled: Path | None = None) -> Job:
        """The job of a config that is compared with the default."""
        cache = None if compiled is None else str(compiled)
        reference = str(self.reference) if self.reference.exists() else None
        return replace(self.job, config=Config(config), reference=reference, compile_cache=cache)


class Lab:
    """A context manager. ``kind`` is the device that is meant; where a run is ``dry``, the CPU
    stands in for it, and small pipelines for those of full size."""

    def __init__(self, kind: str | None, dry: bool, cache: Path, scratch: Path) -> None:
        self.dry = dry
        self.cache = cache
        self.scratch = scratch
        # Children look at these when their server starts.
        path = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *([path] if path else [])])
        os.environ[PLACE] = str(scratch)
        if dry:
            # A rehearsal goes on beside other work, where threads that wait for each other crawl.
            os.environ.setdefault("OMP_NUM_THREADS", "1")
        self.children = Children()
        self._settings: dict[str, Setting] = {}
        self._probes: dict[int, dict[str, str | None]] = {}
        self.device, _ = find_device(self.children, "cpu" if dry else kind)
        facts = self.children.call("tuner.discovery.probing:describe", {"device": self.device})
        self.machine = Machine.from_json(facts["machine"])
        found = "rocm" if self.machine.rocm else self.device
        self.kind = (kind or "cuda") if dry else found

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *raised: object) -> None:
        self.children.__exit__(None, None, None)

    def reopen(self) -> None:
        """New processes, where an item was stopped and an answer of the old may be on its way."""
        self.children.__exit__(None, None, None)
        self.children = Children()
        # Their imports are no time of the next item.
        find_device(self.children, self.device)

    def head(self, **facts: Any) -> dict[str, Any]:
        """What a session is told to have run on."""
        names = ("device_bytes", "host_bytes", "cores", "system", "device_count")
        machine = {name: getattr(self.machine, name) for name in names}
        known = {"kind": self.kind, "device": self.machine.device_name, "dry": self.dry}
        return {**known, "packages": dict(self.machine.packages), "machine": machine, **facts}

    def setting(self, name: str) -> Setting:
        """A pipeline on the device, looked at when it is first asked for."""
        if name not in self._settings:
            self._settings[name] = self._found(name)
        return self._settings[name]

    def _found(self, name: str) -> Setting:
        workload = MODELS[name].workload(self.cache, self.dry)
        question = {"cache_dir": str(self.cache), "device": self.device, "lpips": None}
        facts = self.children.call(
            "tuner.discovery.context:inspect", {"model": workload.model, **question}
        )
        spec = PipelineSpec.from_json(facts["spec"])
        self.children.preload(spec.classes)
        machine = Machine.from_json(facts["machine"])
        head_size = max(part.head_size for part in spec.denoisers) or HEAD_SIZE
        if head_size not in self._probes:
            found = probed(self.children, sorted(all_probes()), self.device, head_size)
            self._probes[head_size] = found
        machine = replace(machine, probes=self._probes[head_size])
        workload = replace(workload, model_fingerprint=spec.fingerprint)
        context = Context(machine, spec, workload, Tier.LOSSY, allow_lossy=True)
        # A rehearsal times a call once.
        cap_s = 0.0 if self.dry else None
        job = Job(workload, spec.folder, self.device, BASELINE, str(self.cache), cap_s=cap_s)
        return Setting(Space(context), job, self.scratch / f"{name}.npz")

    def meant(self, name: str) -> Space:
        """What can be chosen on the device that is meant: described, where a run is dry."""
        space = self.setting(name).space
        if not self.dry:
            return space
        return Space(replace(space.context, machine=described(self.kind)))

    def run(self, job: Job, limit_s: float, task: str = TRIAL) -> Trial:
        """A trial of a job, killed after so long."""
        return run_trial(self.children, job, Deadlines(limit_s), lambda phase: None, task)


def refusal(space: Space, config: Mapping[str, str]) -> str | None:
    """Why the space does not hold the config, or None."""
    for name, value in config.items():
        if reason := space.reason(check_known(name, value), value):
            return f"{name}={value}: {reason}"
    return space.clash(config)


def stand_in(space: Space, config: Mapping[str, str]) -> dict[str, str]:
    """As much of the config as the space holds, choice by choice, and its CPU does not emulate."""
    held: dict[str, str] = {}
    for name, value in config.items():
        if name == "precision" and value not in space.context.machine.native_dtypes:
            continue
        fuller = space.supported({**held, name: value})
        if refusal(space, fuller) is None:
            held = fuller
    return held
