"""What tells that the processor was slow during a call: pieces of work timed before and after it.

    python -m tests.benchmarks.pace_truth [--minutes 3]

For each piece of work: how the time of a call goes with that of the work beside it, as the
correlation of the logarithms. Then the calls beside which the pace, as a trial takes it, was good,
against all calls.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy

from tests.benchmarks.one_config import constructed, one_config, parser, say, spread
from tuner.measure import timed_call
from tuner.pace import SLOW, few, slowest_s
from tuner.worker import Job, leave_result

ZEROS = bytes(2**22)


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
        "pace": lambda: slowest_s(few(range(os.cpu_count() or 1))),
    }


def beside_calls(folder: Path) -> None:
    """The task of a child: rows of the call's seconds and, for each work, those around it."""
    request = json.loads((folder / "request.json").read_text())
    job = Job.from_json(request["job"])
    pipe, build = constructed(job)
    pieces, rows = works(), []
    end_s = time.monotonic() + 60 * request["minutes"]
    while time.monotonic() < end_s:
        called_s = timed_call(pipe, build.call, job.device, job.workload.seed).call_s
        rows.append((called_s, {name: seconds(name, work) for name, work in pieces.items()}))
    leave_result(folder, {"rows": rows[2:]})


def seconds(name: str, work: Callable[[], Any]) -> float:
    """What the work took; the pace times itself."""
    began_s = time.perf_counter()
    found = work()
    return float(found) if name == "pace" else time.perf_counter() - began_s


def main() -> None:
    """Call for a while, and compare."""
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, default=3.0)
    asked = options.parse_args()
    with one_config(asked) as (children, job):
        request = {"job": asdict(job), "minutes": asked.minutes}
        rows = children.call("tests.benchmarks.pace_truth:beside_calls", request)["rows"]
    calls_s = numpy.array([called_s for called_s, _ in rows[1:]])
    for name in rows[0][1]:
        work_s = numpy.array([beside[name] for _, beside in rows])
        around_s = (work_s[:-1] + work_s[1:]) / 2
        goes_with = numpy.corrcoef(numpy.log(around_s), numpy.log(calls_s))[0, 1]
        say({"work": name, "correlation": round(float(goes_with), 2), **spread(list(work_s))})
    pace_s = numpy.array([beside["pace"] for _, beside in rows])
    calm = numpy.maximum(pace_s[:-1], pace_s[1:]) <= SLOW * pace_s.min()
    say({"calls": "all", **spread(list(calls_s))})
    if calm.any():
        say({"calls": "at a good pace", **spread(list(calls_s[calm]))})


if __name__ == "__main__":
    main()
