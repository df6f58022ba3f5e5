"""What tells that the processor was slow during a call: pieces of work timed before and after it.

    python -m tests.benchmarks.probe_truth [--minutes 3]

For each piece of work: how the time of a call goes with that of the work beside it, as the
correlation of the logarithms; and with the probe within the call, as a trial takes it. Then the
calls beside which, and those within which the probe was good, against all calls.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy

from tests.benchmarks.one_config import constructed, one_config, parser, say, summary
from tuner.measuring.calls import timed_call
from tuner.measuring.noise.cpu_speed import LEAST_LOOKS, ROUNDS, SLOW, SLOW_WITHIN, WORK
from tuner.measuring.noise.cpu_speed_within import Within, may_be_shared
from tuner.measuring.noise.hashing import few, slowest_s
from tuner.processes.task import leave_result
from tuner.records.job import Job

ZEROS = bytes(2**22)
PROBE = "the probe"
CORES = few(range(os.cpu_count() or 1))


def works() -> dict[str, Callable[[], Any]]:
    """Pieces of work of a few milliseconds, by name."""
    import torch

    matrix = torch.randn(768, 768)
    halves = torch.randn(1024, 1024).bfloat16()
    large = torch.randn(16 * 2**20)
    return {
        "blake2b": lambda: hashlib.blake2b(ZEROS),
        "sha256": lambda: hashlib.sha256(ZEROS),
        "sum in Python": lambda: sum(range(200_000)),
        "product in fp32": lambda: matrix @ matrix,
        "product in bf16": lambda: halves @ halves,
        "copy of 64 MiB": large.clone,
        PROBE: lambda: slowest_s(CORES, WORK, ROUNDS),
    }


def beside_calls(folder: Path) -> None:
    """The task of a child: the seconds of calls, the probe within and the work beside."""
    request = json.loads((folder / "request.json").read_text())
    job = Job.from_json(request["job"])
    pipe, build = constructed(job)
    within = Within(CORES if may_be_shared(CORES) else ())
    pieces, rows = works(), []
    end_s = time.monotonic() + 60 * request["minutes"]
    while time.monotonic() < end_s:
        within.start()
        called_s = timed_call(pipe, build.call, job.device, job.workload.seed).call_s
        looks_s = within.stop()
        beside_s = {name: seconds(name, work) for name, work in pieces.items()}
        rows.append((called_s, looks_s, beside_s))
    leave_result(folder, {"rows": rows[2:]})


def seconds(name: str, work: Callable[[], Any]) -> float:
    """What the work took; the probe times itself."""
    began_s = time.perf_counter()
    found = work()
    return float(found) if name == PROBE else time.perf_counter() - began_s


def goes_with(work_s: Any, calls_s: Any) -> float:
    """The correlation of the logarithms."""
    return round(float(numpy.corrcoef(numpy.log(work_s), numpy.log(calls_s))[0, 1]), 2)


def main() -> None:
    """Call for a while, and compare."""
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, default=3.0)
    asked = options.parse_args()
    with one_config(asked) as (children, job):
        request = {"job": asdict(job), "minutes": asked.minutes}
        rows = children.call("tests.benchmarks.probe_truth:beside_calls", request)["rows"]
    calls_s = numpy.array([called_s for called_s, *_ in rows[1:]])
    for name in rows[0][2]:
        work_s = numpy.array([beside_s[name] for *_, beside_s in rows])
        around_s = (work_s[:-1] + work_s[1:]) / 2
        say({"work": name, "correlation": goes_with(around_s, calls_s), **summary(list(work_s))})
    say({"calls": "all", **summary(list(calls_s))})
    probe_s = numpy.array([beside_s[PROBE] for *_, beside_s in rows])
    calm = numpy.maximum(probe_s[:-1], probe_s[1:]) <= SLOW * probe_s.min()
    tell("the probe beside them was good", calls_s[calm])
    looks_s = [looks_s for _, looks_s, _ in rows[1:]]
    if min((len(core_s) for cores_s in looks_s for core_s in cores_s), default=0) < LEAST_LOOKS:
        sys.exit("the calls are not looked at within here, or are too short")
    within_s = numpy.array([max(map(numpy.mean, cores_s)) for cores_s in looks_s])
    all_s = [look_s for cores_s in looks_s for core_s in cores_s for look_s in core_s]
    correlation = goes_with(within_s, calls_s)
    say({"work": "the probe within", "correlation": correlation, **summary(list(1e3 * within_s))})
    calm_within = within_s <= SLOW_WITHIN * numpy.quantile(all_s, 0.1)
    tell("the probe within was good", calls_s[calm_within])
    tell("both were good", calls_s[calm & calm_within])


def tell(which: str, calls_s: Any) -> None:
    """What is to say of some of the calls, if there are any."""
    if len(calls_s):
        say({"calls": which, **summary(list(calls_s))})


if __name__ == "__main__":
    main()
