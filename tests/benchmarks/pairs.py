"""Every pair of available choices on this CPU: ruled out with a reason, or run to a valid image.

    python -m tests.benchmarks.pairs [--family sd15-tiny ...] [--without-engines] [--write]

Each pair runs in a process of its own, as a trial does. Outcomes are kept in a file as they come,
by versions and family, so that the command goes on where it stopped. ``--write`` puts the table
into docs/pairs.md.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from types import MappingProxyType
from typing import Any

import platformdirs

from search_space.build import PARTS, Build
from search_space.construct import construct, no_effect
from search_space.errors import TuneError
from search_space.knob import Context, Tier
from search_space.machine import Machine
from search_space.pipeline_spec import read_spec
from search_space.space import Space
from search_space.trial import Config, Failure
from search_space.workload import Workload
from tuner import reference
from tuner.children import Children
from tuner.compare import fidelity_of
from tuner.fidelity import latents_in_float32
from tuner.measure import timed_call
from tuner.outputs import latents_kept, made
from tuner.phases import Phases
from tuner.probing import look_around
from tuner.runner import Deadlines, run_trial
from tuner.worker import (
    Job,
    NoEffect,
    classify,
    leave_result,
    silence_progress_bars,
)

FAMILIES = ("sd15-tiny", "sdxl-tiny", "sd3-tiny", "flux-tiny", "wan-tiny", "ltx-tiny")
NUM_FRAMES = {"wan-tiny": 5, "ltx-tiny": 9}
PAGE = Path("docs/pairs.md")
CACHE = Path(platformdirs.user_cache_dir("diffusers-autotune"))
RAN = "ran"
STEPS = 2


def workload_of(family: str, config: Config = MappingProxyType({})) -> Workload:
    """As small as the choices of the config can act on."""
    side_px = 144 if config.get("vae_tiling", "off") != "off" else 64
    batch_size = 2 if config.get("vae_slicing", "off") != "off" else 1
    name, frames = f"reference:{family}", NUM_FRAMES.get(family)
    return Workload(name, "", side_px, side_px, frames, steps=STEPS, batch_size=batch_size)


def pairs(space: Space) -> Iterator[tuple[str, dict[str, str]]]:
    """Each pair of choices by name, with what the two ask for elsewhere."""
    choices = [(knob, value) for knob, values in space.choices.items() for value in values]
    first = {knob.name: knob.values[0] for knob in space.knobs}
    changing = [(knob, value) for knob, value in choices if first[knob] != value]
    for (one, mine), (other, theirs) in combinations(changing, 2):
        if one != other:
            name = f"{one}={mine} + {other}={theirs}"
            yield name, space.supported({one: mine, other: theirs})


def try_pair(folder: Path) -> None:
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
    with latents_in_float32(pipe), latents_kept(build) as latents:
        call = timed_call(pipe, build.call, job.device, job.workload.seed)
    if seen := no_effect(build, job.config):
        raise NoEffect(seen)
    fidelity = fidelity_of(build, job, made(call.output, latents), can_win=False)
    phases.leave()
    peaks = [asdict(peak) for peak in phases.peaks]
    return {
        "seconds": {"steady": [call.call_s]},
        "peaks": peaks,
        "fidelity": fidelity,
        "conditions": [],
        "work": {},
    }


@dataclass
class Family:
    """One reference pipeline on this machine, with the baselines of its workloads."""

    name: str
    folder: str
    children: Children
    kept: Path

    def outcome(self, space: Space, config: Config) -> str:
        """``ran``, the reason why the rules exclude the pair, or how it failed."""
        reason = space.clash(config)
        if reason is not None:
            return f"ruled out: {reason}"
        return self.told(self.job(config, reference=str(self.baseline(config))))

    def baseline(self, config: Config) -> Path:
        """The images of the untouched pipeline for the workload of the config; raises TuneError."""
        workload = workload_of(self.name, config)
        path = self.kept / f"{self.name}-{workload.height_px}-{workload.batch_size}.npz"
        if not path.exists():
            job = replace(self.job({}, output=str(path)), workload=workload)
            if (told := self.told(job)) != RAN:
                raise TuneError(f"the baseline of {self.name} does not run: {told}")
        return path

    def job(self, config: Config, **files: str) -> Job:
        """The job of a config."""
        known = workload_of(self.name, config), self.folder, "cpu", config, str(CACHE)
        return Job(*known, **files, compile_cache=str(self.kept / "inductor"))

    def told(self, job: Job) -> str:
        """``ran``, or how it failed."""
        task = "tests.benchmarks.pairs:try_pair"
        found = run_trial(self.children, job, Deadlines(600.0), lambda phase: None, task).outcome
        failed = isinstance(found, Failure)
        return f"failed: {found.kind.value}: {found.message}" if failed else RAN


def run_family(name: str, engines: bool, children: Children, machine: Machine) -> dict[str, str]:
    """The outcome of every pair of one family; those that are known are not run again."""
    folder = reference.build(name, CACHE)
    kept = CACHE / "pairs" / machine.software_fingerprint[3:11]
    kept.mkdir(parents=True, exist_ok=True)
    workload = replace(workload_of(name), batch_size=2, height_px=144, width_px=144)
    spec = read_spec(folder)
    children.preload(spec.classes)
    context = Context(machine, spec, workload, Tier.LOSSY, allow_lossy=True)
    space = Space(context, exclude=() if engines else PARTS)
    family = Family(name, str(folder), children, kept)
    known = kept / f"{name}.jsonl"
    lines = known.read_text(encoding="utf-8").splitlines() if known.exists() else []
    found: dict[str, str] = dict(json.loads(line) for line in lines)
    with known.open("a", encoding="utf-8", buffering=1) as file:
        for pair, config in pairs(space):
            if pair not in found:
                found[pair] = family.outcome(space, config)
                file.write(json.dumps([pair, found[pair]]) + "\n")
                if found[pair].startswith("failed"):
                    print(name, pair, found[pair], flush=True)
    return {pair: found[pair] for pair, _ in pairs(space)}


def page(found: dict[str, dict[str, str]], machine: str) -> str:
    """The table as a page of the docs."""
    lines = [
        "# Pairs of choices",
        "",
        f"Made by `python -m tests.benchmarks.pairs --write` on {machine}.",
        "",
        "| family | pairs | ran | ruled out | failed |",
        "| --- | --- | --- | --- | --- |",
    ]
    for family, outcomes in found.items():
        counts = Counter(text.partition(":")[0] for text in outcomes.values())
        ran, out, failed = counts[RAN], counts["ruled out"], counts["failed"]
        lines.append(f"| {family} | {len(outcomes)} | {ran} | {out} | {failed} |")
    failures = [
        f"- {family}: {name}: {text}"
        for family, outcomes in found.items()
        for name, text in outcomes.items()
        if text.startswith("failed")
    ]
    reasons = sorted(
        {text.partition(": ")[2] for o in found.values() for text in o.values()} - {""}
    )
    lines += ["", "## Failed", "", *(failures or ["None."])]
    lines += ["", "## Ruled out, by reason", "", *sorted(f"- {reason}" for reason in reasons)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is not known yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", action="append", choices=FAMILIES)
    parser.add_argument("--without-engines", action="store_true")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    with Children() as children:
        machine, _ = look_around(children, "cpu")
        found = {
            family: run_family(family, not asked.without_engines, children, machine)
            for family in asked.family or FAMILIES
        }
    for family, outcomes in found.items():
        print(family, dict(Counter(text.partition(":")[0] for text in outcomes.values())))
    if asked.write:
        PAGE.write_text(page(found, f"{machine.cores} cores of {machine.device_name}"))


if __name__ == "__main__":
    main()
