"""Two calls in each turn: how much slower the first is, which follows a call of another trial.

    python -m tests.benchmarks.calls_of_a_turn [--rounds 5] [--choose KNOB=CHOICE]

In a race one call is made in a turn, and another trial has had the caches before. Here the config
and the baseline make two calls in each of their turns, and the first is divided by the second.
"""

from __future__ import annotations

import json
from dataclasses import replace
from math import exp, log
from pathlib import Path
from statistics import mean, median, stdev

from search_space.config import BASELINE
from search_space.trial import Trial
from tests.benchmarks.one_config import constructed, one_config, parser, say
from tests.benchmarks.overhead import plain_s
from tuner.measuring.interleaving import turns_at
from tuner.processes.task import leave_result
from tuner.records.job import Job
from tuner.runners.base import Deadlines
from tuner.runners.interleaved import run_interleaved

TURNS = 20
WARM_UPS = 3
FIRST, SECOND = "steady", "second"


def two_a_turn(folder: Path) -> None:
    """The task of a trial: it is warm, and makes two calls in each turn."""
    job = Job.from_json(json.loads((folder / "request.json").read_text(encoding="utf-8")))
    turns = turns_at(job.turns, lambda phase: None)
    pipe, build = constructed(job)
    for _ in range(WARM_UPS):
        plain_s(pipe, build, job)
    seconds: dict[str, list[float]] = {FIRST: [], SECOND: []}
    while turns.another(len(seconds[FIRST]) >= TURNS):
        for samples in seconds.values():
            samples.append(plain_s(pipe, build, job))
    nothing = {"peaks": [], "fidelity": {}, "conditions": [], "work": {}, "images": 1, "turns": {}}
    leave_result(folder, {"measurement": {"seconds": seconds, **nothing}})


def logs(trial: Trial) -> list[float]:
    """The logarithms of the first calls over the second ones."""
    assert trial.measurement is not None, trial.outcome
    seconds = trial.measurement.seconds
    return [log(a / b) for a, b in zip(seconds[FIRST], seconds[SECOND], strict=True)]


def main() -> None:
    """Make the calls."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=5)
    asked = options.parse_args()
    found: dict[str, list[float]] = {}
    task = f"{__spec__.name}:{two_a_turn.__name__}"
    with one_config(asked) as (children, job):
        jobs = [replace(job, config=BASELINE), job]
        for _ in range(asked.rounds):
            for trial in run_interleaved(children, jobs, Deadlines(1200.0), lambda *_: None, task):
                found.setdefault(json.dumps(trial.config), []).extend(logs(trial))
    for config, ratios in found.items():
        told = {"first over second": exp(mean(ratios)), "median": exp(median(ratios))}
        error = stdev(ratios) / len(ratios) ** 0.5
        rounded = {name: round(value, 4) for name, value in told.items()}
        say({"config": config, "pairs": len(ratios), **rounded, "standard error": round(error, 4)})


if __name__ == "__main__":
    main()
