"""A config and the baseline, raced in turns and one after the other: how far the rounds lie apart.

    python -m tests.benchmarks.race_spread [--rounds 6] [--choose KNOB=CHOICE]

Each round is a race's: a trial of both, each in a process of its own. In turns the calls alternate,
and the speed-up of a round is told by those that lie beside each other; otherwise one trial follows
the other, and it is that of their medians. The two kinds of rounds alternate as well.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from math import exp, log
from statistics import mean, stdev

from search_space.config import BASELINE
from search_space.trial import Measurement, Trial
from tests.benchmarks.one_config import one_config, parser, say, tried
from tuner.processes.children import Children
from tuner.race.paired_calls import comparable
from tuner.records.job import Job
from tuner.runners.base import Deadlines
from tuner.runners.interleaved import run_interleaved


def beside_each_other(children: Children, jobs: Sequence[Job]) -> list[Trial]:
    """The trials of the jobs, in turns."""
    return list(run_interleaved(children, jobs, Deadlines(1200.0), lambda job, phase: None))


def one_by_one(children: Children, jobs: Sequence[Job]) -> list[Trial]:
    """The trials of the jobs, one after the other."""
    return [tried(children, job) for job in jobs]


WAYS = {"in turns": beside_each_other, "one after the other": one_by_one}


def speedup(trials: Sequence[Trial]) -> float:
    """The baseline's latency over the other's, as a race computes it; a failure ends all."""
    measured: list[Measurement] = []
    for trial in sorted(trials, key=lambda trial: len(trial.config)):
        if trial.measurement is None:
            sys.exit(f"the trial failed: {trial.outcome}")
        measured.append(trial.measurement)
    baseline, other = comparable(measured)
    return baseline.latency_s / other.latency_s


def main() -> None:
    """Race both ways."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=6)
    asked = options.parse_args()
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    with one_config(asked) as (children, job):
        if not job.config:
            options.error("give --choose or --precision: the baseline races against another config")
        for number in range(1, asked.rounds + 1):
            for way, run in WAYS.items():
                jobs = random.sample([job, replace(job, config=BASELINE)], 2)
                began_s = time.monotonic()
                trials = run(children, jobs)
                took_s = round(time.monotonic() - began_s, 1)
                found[way].append(speedup(trials))
                told = round(found[way][-1], 3)
                say({"round": number, "way": way, "speedup": told, "took_s": took_s})
    for way, speedups in found.items():
        logs = [log(speedup) for speedup in speedups]
        spread = round(stdev(logs), 4) if len(logs) > 1 else None
        say({"way": way, "speedup": round(exp(mean(logs)), 3), "spread of the rounds": spread})


if __name__ == "__main__":
    main()
