"""What measuring costs: in a steady call, beside it, and in a whole trial.

    python -m tests.benchmarks.overhead [--calls 20] [--trials 5]

Plain calls and watched calls are made in turns in one process. ``in_the_sample`` is how much longer
a watched call says it took, ``beside_the_sample`` the seconds that watching needs before and after.
Of a whole trial, ``beside_s`` is what its phases do not account for, ``release_s`` how much of it
any process needs to end that held as much memory, and ``start_s`` how long the trial's takes to
come up. Last, how much of a core the controller used while a trial ran.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from search_space.build import Build
from search_space.trial import Trial
from tests.benchmarks.one_config import constructed, one_config, parser, say, summary, tried
from tuner.measuring.call_parts import Stopwatch
from tuner.measuring.calls import generators, timed_call
from tuner.measuring.noise.guard import Guard
from tuner.processes.children import Children
from tuner.processes.task import leave_result
from tuner.records.job import Job

HOLD = """
import mmap, os, sys, time
memory = mmap.mmap(-1, int(sys.argv[1]))
for start in range(0, len(memory), mmap.PAGESIZE):
    memory[start] = 1
print(time.time(), flush=True)
os._exit(0)
"""
CALLS = {"first_call", "second_call", "warm_up", "steady", "disturbed"}
WITHIN_CALLS = {"text_encoding", "step", "decode"}


def interleaved(folder: Path) -> None:
    """The task of a child: plain and watched calls of one pipeline."""
    request = json.loads((folder / "request.json").read_text())
    job = Job.from_json(request["job"])
    pipe, build = constructed(job)
    guard, stopwatch = Guard(job.device), Stopwatch(job.device)
    found: dict[str, list[float]] = {"plain_s": [], "sample_s": [], "beside_s": []}
    for _ in range(2):
        plain_s(pipe, build, job)
    for _ in range(request["calls"]):
        found["plain_s"].append(plain_s(pipe, build, job))
        with stopwatch.on(build):
            began_s = time.perf_counter()
            guard.begin()
            sample = timed_call(pipe, build.call, job.device, job.workload.seed, stopwatch)
            guard.end()
            found["beside_s"].append(time.perf_counter() - began_s - sample.call_s)
        found["sample_s"].append(sample.call_s)
    leave_result(folder, found)


def plain_s(pipe: Any, build: Build, job: Job) -> float:
    """The seconds of a call that nothing watches."""
    generator = generators(build.call, job.workload.seed)
    began_s = time.perf_counter()
    pipe(**build.call, generator=generator)
    return time.perf_counter() - began_s


def main() -> None:
    """Measure the calls, then whole trials."""
    options = parser(__doc__)
    options.add_argument("--calls", type=int, default=20)
    options.add_argument("--trials", type=int, default=5)
    asked = options.parse_args()
    with one_config(asked) as (children, job):
        request = {"job": asdict(job), "calls": asked.calls}
        tell_calls(children.call("tests.benchmarks.overhead:in_turns", request))
        for number in range(asked.trials):
            tell_trial(number, *watched(children, job))


def tell_calls(found: dict[str, list[float]]) -> None:
    """What watching costs in a call and beside it."""
    plain_s, sample_s, beside_s = found["plain_s"], found["sample_s"], found["beside_s"]
    ratios = [a / b for a, b in zip(sample_s, plain_s, strict=True)]
    say({"plain_s": summary(plain_s), "sample_s": summary(sample_s)})
    fastest = min(sample_s) / min(plain_s)
    say({"in_the_sample": summary(ratios), "of_the_fastest": round(fastest, 4)})
    say({"beside_the_sample_s": summary(beside_s)})
    say({"beside_the_sample": round(median(beside_s) / median(plain_s), 5)})


def watched(children: Children, job: Job) -> tuple[Trial, float]:
    """A trial, and how much of a core this process used meanwhile."""
    before_s, began_s = own_s(), time.monotonic()
    trial = tried(children, job)
    return trial, (own_s() - before_s) / (time.monotonic() - began_s)


def tell_trial(number: int, trial: Trial, controller_cores: float) -> None:
    """Where the seconds of a whole trial went."""
    assert trial.measurement is not None
    seconds = trial.measurement.seconds
    phases_s = {kind: sum(s) for kind, s in seconds.items() if kind not in WITHIN_CALLS}
    facts = {
        "cost_s": round(trial.cost_s, 3),
        "calls_s": round(sum(phases_s.get(kind, 0.0) for kind in CALLS), 3),
        "beside_s": round(trial.cost_s - sum(phases_s.values()), 4),
        "release_s": round(release_s(trial.measurement.host_peak_bytes), 4),
        "start_s": round(phases_s["start"], 4),
        "check_s": round(phases_s["check"], 4),
    }
    say({"trial": number, **facts, "controller_cores": round(controller_cores, 4)})


def release_s(held_bytes: int) -> float:
    """How long the kernel takes to end a process that holds so much and does nothing else."""
    command = [sys.executable, "-c", HOLD, str(held_bytes)]
    ended_s = float(subprocess.check_output(command))
    return time.time() - ended_s


def own_s() -> float:
    """The processor time of this process."""
    times = os.times()
    return times.user + times.system


if __name__ == "__main__":
    main()
