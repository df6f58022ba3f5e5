"""A full-size pipeline on the GPU of this machine, and trials of configs against its baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from search_space.config import BASELINE, Config, steps
from search_space.knob import Stage, Tier
from search_space.space import Space
from search_space.trial import Failure, Measurement
from search_space.workload import Workload
from tuner.discovery.context import discover
from tuner.processes.children import Children
from tuner.records.job import Job
from tuner.records.plan import Request
from tuner.records.request import default_cache_dir
from tuner.runners.base import Deadlines
from tuner.runners.trial_process import TRIAL, run_trial

CACHE = default_cache_dir()
SIDE_PX = {"sd15": 512, "sdxl": 1024}
LIMIT_S = 400.0
Outcome = Measurement | Failure
CALL = "tests.benchmarks.pairs:try_pairs"


class Setting:
    """The space of a reference pipeline, and the images of its baseline to compare with.

    What is compiled is kept in the user's cache folder, as the pipelines are. ``once``: the
    pipeline is called a single time where no engine has to settle, and no time is to be trusted.
    """

    def __init__(self, children: Children, name: str, folder: Path, once: bool = False) -> None:
        side_px = SIDE_PX[name]
        workload = Workload(f"reference:{name}", height_px=side_px, width_px=side_px, steps=4)
        asked = Request(workload, CACHE, device="cuda", quality=Tier.LOSSY, allow_lossy=True)
        context = discover(children, asked)
        self.space = Space(context)
        self._children = children
        self._once = once
        self._reference = str(folder / f"{name}.npz")
        known = context.spec.folder, "cuda"
        compiled = str(CACHE / "inductor")
        self._job = Job(context.workload, *known, BASELINE, str(CACHE), compile_cache=compiled)
        self.baseline = self._run(replace(self._job, output=self._reference), once)

    def outcome(self, config: Mapping[str, str], once: bool | None = None) -> Outcome:
        """What a trial of the config comes to."""
        job = replace(self._job, config=Config(config), reference=self._reference)
        return self._run(job, self._once if once is None else once)

    def _run(self, job: Job, once: bool) -> Outcome:
        settles = any(step.stage is Stage.ENGINE for step in steps(job.config))
        if once:
            job = replace(job, cap_s=0.0)
        task = CALL if once and not settles else TRIAL
        return run_trial(self._children, job, Deadlines(LIMIT_S), lambda phase: None, task).outcome
