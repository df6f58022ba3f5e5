"""Every pair of available choices on this CPU: ruled out with a reason, or run to a valid image.

    python -m tests.benchmarks.pairs [--family sd15-tiny ...] [--without-engines] [--write]

Each pair runs in a process of its own, as a trial does. Outcomes are kept in a file as they come,
by versions and family, so that the command goes on where it stopped. ``--write`` puts the table
into docs/pairs.md.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import platformdirs

from search_space.build import PARTS
from search_space.errors import TuneError
from search_space.knob import Context, Tier
from search_space.pipeline_spec import read_spec
from search_space.space import Space
from search_space.trial import Config, Failure
from search_space.workload import Workload
from tuner import reference
from tuner.children import Children
from tuner.probing import look_around
from tuner.runner import Deadlines, run_trial
from tuner.worker import Job

FAMILIES = ("sd15-tiny", "sdxl-tiny", "sd3-tiny", "flux-tiny", "wan-tiny", "ltx-tiny")
NUM_FRAMES = {"wan-tiny": 5, "ltx-tiny": 9}
PAGE = Path("docs/pairs.md")
CACHE = Path(platformdirs.user_cache_dir("diffusers-autotune"))
RAN = "ran"


def workload_of(family: str) -> Workload:
    """Small, yet large enough that tiling, slicing and caches have something to do."""
    frames = NUM_FRAMES.get(family)
    return Workload(f"reference:{family}", "", 144, 144, frames, steps=4, batch_size=2)


def pairs(space: Space) -> Iterator[tuple[str, dict[str, str]]]:
    """Each pair of choices by name, with what the two ask for elsewhere."""
    choices = [(knob, value) for knob, values in space.choices.items() for value in values]
    first = {knob.name: knob.values[0] for knob in space.knobs}
    changing = [(knob, value) for knob, value in choices if first[knob] != value]
    for (one, mine), (other, theirs) in combinations(changing, 2):
        if one != other:
            name = f"{one}={mine} + {other}={theirs}"
            yield name, space.supported({one: mine, other: theirs})


def outcome(space: Space, config: Config, children: Children, job: Job) -> str:
    """``ran``, the reason why the rules exclude the pair, or how it failed."""
    reason = space.clash(config)
    if reason is not None:
        return f"ruled out: {reason}"
    trial = run_trial(children, replace(job, config=config), Deadlines(600.0), lambda phase: None)
    if isinstance(trial.outcome, Failure):
        return f"failed: {trial.outcome.kind.value}: {trial.outcome.message}"
    return RAN


def run_family(family: str, engines: bool, children: Children) -> dict[str, str]:
    """The outcome of every pair of one family; those that are known are not run again."""
    folder = reference.build(family, CACHE)
    machine, _ = look_around(children, "cpu")
    context = Context(machine, read_spec(folder), workload_of(family), Tier.LOSSY, allow_lossy=True)
    space = Space(context, exclude=() if engines else PARTS)
    known = CACHE / "pairs" / f"{family}-{machine.software_fingerprint[3:11]}.jsonl"
    known.parent.mkdir(parents=True, exist_ok=True)
    lines = known.read_text(encoding="utf-8").splitlines() if known.exists() else []
    found: dict[str, str] = dict(json.loads(line) for line in lines)
    baseline = str(known.with_suffix(".npy"))
    job = Job(
        context.workload,
        str(folder),
        "cpu",
        {},
        str(CACHE),
        output=baseline,
        cap_s=0.0,
        compile_cache=str(CACHE / "pairs" / "inductor"),
    )
    if isinstance(run_trial(children, job, Deadlines(600.0), lambda phase: None).outcome, Failure):
        raise TuneError(f"the baseline of {family} does not run")
    job = replace(job, output=None, reference=baseline)
    with known.open("a", encoding="utf-8", buffering=1) as file:
        for name, config in pairs(space):
            if name not in found:
                found[name] = outcome(space, config, children, job)
                file.write(json.dumps([name, found[name]]) + "\n")
                if found[name].startswith("failed"):
                    print(family, name, found[name], flush=True)
    return {name: found[name] for name, _ in pairs(space)}


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
            family: run_family(family, not asked.without_engines, children)
            for family in asked.family or FAMILIES
        }
    for family, outcomes in found.items():
        print(family, dict(Counter(text.partition(":")[0] for text in outcomes.values())))
    if asked.write:
        PAGE.write_text(page(found, f"{machine.cores} cores of {machine.device_name}"))


if __name__ == "__main__":
    main()
