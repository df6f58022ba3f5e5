"""Calls of a few steps, told up to whole ones, against whole calls beside them.

    python -m tests.benchmarks.few_steps --model reference:sd15-tiny --steps 20 [--pairs 15]

In one process a whole call and a short one alternate, the first of the two in turn. Prints what the
short one tells over what the whole one takes, and what the short one itself takes. With
``--cpu-time`` the clock is that of the process, which others on the machine do not move: for
``OMP_NUM_THREADS=1``.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from math import exp, log
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from tests.benchmarks.one_config import constructed, one_config, parser, say
from tuner.measuring.caller import Caller, few_steps
from tuner.processes.task import leave_result
from tuner.records.job import Job


def pairs(folder: Path) -> None:
    """The task of a child: seconds of whole calls, as told by short ones, and of these."""
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    job = Job.from_json(request["job"])
    if request["cpu_time"]:
        time.perf_counter = time.process_time
    _, build = constructed(job)
    caller = Caller(build, job.device, job.workload.seed, few_steps(build, job.config))
    rows: list[tuple[float, float, float]] = []
    if caller.few is not None:
        with caller.ready():
            for _ in range(2):
                caller.whole()
                caller.short()
            for number in range(request["pairs"]):
                calls = [caller.whole, caller.short]
                made = [call() for call in (calls if number % 2 else reversed(calls))]
                whole, short = made if number % 2 else reversed(made)
                rows.append((whole.call_s, short.call_s, short.short_s or 0.0))
    leave_result(folder, {"rows": rows})


def main() -> None:
    """Make the calls, and compare."""
    options = parser(__doc__)
    options.add_argument("--pairs", type=int, default=15)
    options.add_argument("--cpu-time", action="store_true")
    asked = options.parse_args()
    with one_config(asked) as (children, job):
        request = {"job": asdict(job), "pairs": asked.pairs, "cpu_time": asked.cpu_time}
        task = f"{__spec__.name}:{pairs.__name__}"
        rows: list[Any] = children.call(task, request)["rows"]
    if not rows:
        sys.exit("no short calls are made of so few steps, or of steps that differ")
    logs = [log(told_s / whole_s) for whole_s, told_s, _ in rows]
    say(
        {
            "told over whole, median": round(exp(median(logs)), 4),
            "mean": round(exp(mean(logs)), 4),
            "standard error": round(stdev(logs) / len(logs) ** 0.5, 4),
            "whole_s": round(median(whole_s for whole_s, *_ in rows), 3),
            "short_s": round(median(short_s for *_, short_s in rows), 3),
        }
    )


if __name__ == "__main__":
    main()
