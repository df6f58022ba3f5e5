"""Every pair of available choices on this CPU: ruled out with a reason, or run to a valid image.

    python -m tests.benchmarks.pairs [--family sd15-tiny ...] [--exclude KNOB ...]
    python -m tests.benchmarks.pairs [--minutes 60] --write

Each config runs in a process of its own, as a trial does, and holds as many pairs as it can; the
pairs of a config that fails are run alone. Outcomes are kept beside this file as they come, by
versions and family, so that the command goes on where it stopped. ``--write`` puts the table into
docs/pairs.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from search_space.build import Build
from search_space.config import Config
from search_space.construct import construct, no_effect
from search_space.errors import TuneError
from search_space.hardware.machine import Machine
from search_space.knob import Context, Tier
from search_space.pipeline.spec import read_spec
from search_space.runtimes.calibration import keep_calibration
from search_space.space import Space
from search_space.trial import Failure
from search_space.workload import Workload
from tests.benchmarks.covering import alone, fullest, pairs, pairs_of
from tests.benchmarks.pairs_page import FAILED, LEFT, RAN, RULED_OUT, Outcomes, named, page
from tests.calm import save_calm
from tuner import reference
from tuner.discovery.probing import examine_machine
from tuner.measuring.calls import image_count, timed_call
from tuner.measuring.failures import NoEffect, classify
from tuner.measuring.fidelity.compare import fidelity_of
from tuner.measuring.fidelity.metrics import noise_in_float32
from tuner.measuring.fidelity.outputs import output_of, recorded_latents
from tuner.measuring.phases import Phases
from tuner.measuring.worker import silence_progress_bars
from tuner.processes.children import Children
from tuner.processes.task import leave_result
from tuner.records.job import Job
from tuner.records.request import default_cache_dir
from tuner.runners.base import Deadlines
from tuner.runners.trial_process import run_trial

FAMILIES = ("sd15-tiny", "sdxl-tiny", "sd3-tiny", "flux-tiny", "wan-tiny", "ltx-tiny")
NUM_FRAMES = {"wan-tiny": 5, "ltx-tiny": 9}
PAGE = Path("docs/pairs.md")
KEPT = Path(__file__).with_name("pairs_kept")


def workload_of(family: str, config: Config = MappingProxyType({})) -> Workload:
    """As small as the choices of the config can act on."""
    large = config.get("vae_tiling", "off") != "off"
    small = Workload(f"reference:{family}", "", 64, 64, NUM_FRAMES.get(family), steps=2)
    return replace(
        small,
        height_px=144 if large else 64,
        width_px=144 if large else 64,
        batch_size=2 if config.get("vae_slicing", "off") != "off" else 1,
        **_steps(config),
    )


def _steps(config: Config) -> dict[str, Any]:
    if config.get("cache", "off") != "off":
        # Without guidance, which multiplies what a skipped block leaves out; half of the steps
        # must be enough for a cache as well.
        return {"steps": 32 if "steps" in config else 16, "guidance_scale": 1.0}
    return {"steps": 8 if {"scheduler", "steps"} & set(config) else 2}


LARGEST = {"vae_tiling": "on", "vae_slicing": "on", "cache": "on"}
"""What asks for the largest workload, for which everything is available."""


def try_pairs(folder: Path) -> None:
    """What a trial does but for the repeats: build, call once, see each choice act, compare."""
    job = Job.from_json(json.loads((folder / "request.json").read_text(encoding="utf-8")))
    phases = Phases(folder, job.device)
    silence_progress_bars()
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(job.compile_cache)
    try:
        leave_result(folder, {"measurement": called_once(job, phases)})
    except Exception as error:
        leave_result(folder, {"failure": asdict(classify(error, phases.name))})


def called_once(job: Job, phases: Phases) -> dict[str, Any]:
    """The measurement of one call; raises what the knobs, diffusers and the comparison raise."""
    phases.enter("load")
    arguments = {**job.workload.call(), "output_type": "np"}
    build = Build(job.folder, job.device, arguments, Path(job.cache_dir), enter=phases.enter)
    pipe = construct(build, job.config)
    pipe.set_progress_bar_config(disable=True)
    phases.enter("steady")
    kept: dict[str, list[tuple[Any, Any]]] = {}
    first = nullcontext() if job.config else build.recorded_inputs(kept)
    with noise_in_float32(pipe), recorded_latents(build) as latents, first:
        call = timed_call(pipe, build.call, job.device, job.workload.seed)
    keep_calibration(build, kept)
    if seen := no_effect(build, job.config):
        raise NoEffect(seen)
    fidelity = fidelity_of(build, job, output_of(call.output, latents), can_win=False)
    phases.leave()
    peaks = [asdict(peak) for peak in phases.peaks]
    return {
        "seconds": {"steady": [call.call_s]},
        "peaks": peaks,
        "fidelity": fidelity,
        "conditions": [],
        "work": {},
        "images": image_count(build.call),
        "turns": {},
    }


@dataclass(frozen=True)
class Family:
    """One reference pipeline on this machine, with all that is kept of it in ``folder``."""

    name: str
    folder: Path
    children: Children

    @cached_property
    def pipeline(self) -> Path:
        """The folder of its calm variant, in which step caches find something to skip."""
        folder = self.folder / f"{self.name}-calm"
        if not (folder / "model_index.json").exists():
            save_calm(reference.build(self.name, self.folder), folder)
        return folder

    def space(self, machine: Machine, exclude: Sequence[str] = ()) -> Space:
        """All that can be chosen here, less the knobs that are excluded."""
        spec = read_spec(self.pipeline)
        self.children.preload(spec.classes)
        workload = workload_of(self.name, LARGEST)
        context = Context(machine, spec, workload, Tier.LOSSY, allow_lossy=True)
        return Space(context, exclude=exclude)

    def run(self, config: Config) -> str:
        """``ran``, or how it failed."""
        return self._told(self._job(config, reference=str(self._baseline(config))))

    def _baseline(self, config: Config) -> Path:
        """The images of the untouched pipeline for the workload of the config; raises TuneError."""
        workload = workload_of(self.name, config)
        sizes = f"{workload.height_px}-{workload.batch_size}-{workload.steps}"
        path = self.folder / f"{self.name}-{sizes}.npz"
        if not path.exists():
            job = replace(self._job({}, output=str(path)), workload=workload)
            if (told := self._told(job)) != RAN:
                raise TuneError(f"the baseline of {self.name} does not run: {told}")
        return path

    def _job(self, config: Config, **files: str) -> Job:
        known = (
            workload_of(self.name, config),
            str(self.pipeline),
            "cpu",
            Config(config),
            str(self.folder),
        )
        return Job(*known, **files, compile_cache=str(self.folder / "inductor"))

    def _told(self, job: Job) -> str:
        task = "tests.benchmarks.pairs:try_pairs"
        found = run_trial(self.children, job, Deadlines(600.0), lambda phase: None, task).outcome
        if not isinstance(found, Failure):
            return RAN
        # What follows is a compiler's command, with paths of this machine.
        message = found.message.partition(" Command: ")[0]
        return f"{FAILED}{found.kind.value}: {message}"


class Kept:
    """The outcomes of a family's configs, in a file of JSON lines: each with its processor."""

    def __init__(self, family: Family, folder: Path, device: str) -> None:
        self._family = family
        self._device = device
        self._file = folder / f"{family.name}.jsonl"
        lines = self._file.read_text(encoding="utf-8").splitlines() if self._file.exists() else []
        self.known: list[tuple[dict[str, str], str]] = [
            (config, told) for config, told, _ in map(json.loads, lines)
        ]
        self.devices = {json.loads(line)[2] for line in lines}

    def outcome(self, config: Config) -> str:
        """What became of the config, which is run if it has not been."""
        for known, told in self.known:
            if known == config:
                return told
        told = self._family.run(config)
        self.known.append((dict(config), told))
        self.devices.add(self._device)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps([*self.known[-1], self._device]) + "\n")
        if told != RAN:
            print(self._family.name, named(config.items()), told, flush=True)
        return told


def sweep(space: Space, kept: Kept, until_s: float = math.inf) -> Outcomes:
    """Run configs until every pair that the rules allow has run or failed, or time is up.

    ``until_s`` is a moment of ``time.monotonic``.
    """
    clashes = {pair: space.clash(alone(space, pair)) for pair in pairs(space)}
    found = {pair: RULED_OUT + reason for pair, reason in clashes.items() if reason}
    for config, told in kept.known:
        if told == RAN:
            found = {pair: RAN for pair in pairs_of(config) if pair in clashes} | found
    while left := dict.fromkeys(pair for pair in clashes if pair not in found):
        if sys.stderr.isatty():
            print(f"{len(left)} of {len(clashes)} pairs left  ", end="\r", file=sys.stderr)
        if time.monotonic() > until_s:
            break
        config = fullest(space, left)
        ran = kept.outcome(config) == RAN
        here = pairs_of(config) & set(left)
        found |= {pair: RAN if ran else kept.outcome(alone(space, pair)) for pair in here}
    together = {
        named(config.items()): told
        for config, told in kept.known
        if told != RAN and all(found.get(pair) == RAN for pair in pairs_of(config))
    }
    told = {pair: found.get(pair, LEFT) for pair in clashes}
    return Outcomes(told, len(kept.known), together)


def main() -> None:
    """Run what is not known yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", action="append", choices=FAMILIES)
    parser.add_argument("--exclude", action="append", default=[], metavar="KNOB")
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    until_s = time.monotonic() + 60 * asked.minutes
    found = {}
    devices: set[str] = set()
    with Children() as children:
        machine, _ = examine_machine(children, "cpu")
        versions = machine.software_fingerprint[3:11]
        folder, kept = default_cache_dir() / "pairs" / versions, KEPT / versions
        folder.mkdir(parents=True, exist_ok=True)
        kept.mkdir(parents=True, exist_ok=True)
        for name in asked.family or FAMILIES:
            family = Family(name, folder, children)
            space = family.space(machine, asked.exclude)
            outcomes = Kept(family, kept, machine.device_name)
            found[name] = sweep(space, outcomes, until_s)
            devices |= outcomes.devices
            print(name, dict(found[name].counts()), f"{found[name].configs} configs", flush=True)
    if asked.write:
        where = f"{machine.cores} cores of {machine.device_name}, {date.today()}"
        others = " and ".join(sorted(devices - {machine.device_name}))
        before = f"; what had run on {others} before was taken over" if others else ""
        PAGE.write_text(page(found, where + before), encoding="utf-8")


if __name__ == "__main__":
    main()
