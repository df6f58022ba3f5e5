"""A trial whose process stays alive after it."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

from tests.tuner.tasks import NOTHING_ELSE, WAYS_TO_END, enter
from tuner.measuring.interleaving import Interleaved, turns_at
from tuner.processes.task import leave_result
from tuner.records.job import Job


def stays_alive(folder: Path) -> None:
    """Three calls, and then one whenever it is asked for.

    Behind its name stands how that ends, where it ends badly.
    """
    job = Job.from_json(json.loads((folder / "request.json").read_text()))
    (Path(job.cache_dir) / f"pid of {job.workload.model}").write_text(f"{os.getpid()}\n")
    _, _, way = job.workload.model.partition(" ")
    turns = turns_at(job.turns, partial(enter, folder))
    assert isinstance(turns, Interleaved)
    enter(folder, "load")
    made = []
    while turns.another(len(made) >= 3):
        enter(folder, "steady")
        made.append(turns.turn)
    seconds = {"steady": [0.2] * len(made)}
    if turns.incumbent_s:
        seconds["incumbent"] = list(turns.incumbent_s.values())
        seconds["incumbent_known"] = [job.beside_s]
    beside = {"incumbent": list(turns.incumbent_s)} if turns.incumbent_s else {}
    kept = {**NOTHING_ELSE, "seconds": seconds, "turns": {"steady": made, **beside}}
    leave_result(folder, {"measurement": kept})
    turns.stay(lambda: call_of(way, job))


def call_of(way: str, job: Job) -> float:
    WAYS_TO_END[way or "works"]({"seen": f"{job.cache_dir}/hangs"})
    return 0.1
