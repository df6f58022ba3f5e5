"""Our figure for a trial's peak of memory beside another account of the same trial, by engine.

    python -m tests.benchmarks.memory_truth [--model sd15-tiny] [--height 128] [--width 128]
    python -m tests.benchmarks.memory_truth --starve 0 --starve 200

An observer in a process of its own walks the page tables of the trial and of its descendants
(``smaps_rollup``) as often as it can, at most every 5 ms. On cuda, where ``tests.gpu.measure`` asks
for it, it reads NVML in place of them. It knows nothing of our counters. It can miss what is short;
it cannot see too much of the host, and of a GPU only where others use it too. ``--starve`` gives a
trial so many MiB beyond what its process starts with, and shows what became of it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import psutil

from search_space.config import Config
from search_space.trial import Failure, Measurement, Trial
from search_space.units import format_size
from search_space.workload import Workload
from tuner import reference
from tuner.measuring.memory.gauge import SET_UP
from tuner.measuring.memory.host import YOUNG_S
from tuner.measuring.memory.limits import data_bytes, limit_data
from tuner.measuring.worker import try_config
from tuner.processes.children import Children
from tuner.records.job import Job
from tuner.records.request import default_cache_dir
from tuner.runners.base import Deadlines
from tuner.runners.trial_process import run_trial

CONFIGS: dict[str, Config] = {
    "eager": {},
    "bf16": {"precision": "bf16"},
    "compile": {"engine": "compile-default"},
    "onnxruntime": {"engine": "onnxruntime"},
    "openvino": {"engine": "openvino"},
}
EVERY_S = 0.005
STARVE = "TUNE_STARVE_MIB"


def rollup(pid: int) -> dict[str, int]:
    """The sums over all mappings of a process, in bytes."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        lines = (line.split() for line in file.readlines()[1:])
        return {name.rstrip(":"): int(size) * 1024 for name, size, *_ in lines}


def children_of(pid: int) -> list[int]:
    """The processes that any thread of a process has started."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def descendants_of(pid: int) -> list[int]:
    """All that a process has started, and what those have."""
    with contextlib.suppress(OSError):
        children = children_of(pid)
        return [*children, *(far for child in children for far in descendants_of(child))]
    return []


def program(pid: int) -> bytes:
    """The command of a process: that of its parent until it starts another program."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def phase_of(pid: int) -> str:
    """The phase that the trial of a process is in, by the last line that it told."""
    log = Path(os.readlink(f"/proc/{pid}/fd/1"))
    return str(json.loads((log.parent / "events.jsonl").read_text().splitlines()[-1])["phase"])


def held_of_the_host(pid: int, phase: str) -> int:
    """What a trial and its descendants hold now, in bytes."""
    own = rollup(pid)
    kept = own["Anonymous"] + own["Pss_Shmem"] if phase in SET_UP else own["Rss"]
    total = kept + own["Swap"]
    for descendant in descendants_of(pid):
        with contextlib.suppress(OSError, KeyError, ValueError, psutil.Error):
            # Until it starts its program, a new process shows its parent's memory as its.
            if time.time() - psutil.Process(descendant).create_time() < YOUNG_S:
                continue
            sums, mere_fork = rollup(descendant), program(descendant) == program(pid)
            private = sums["Private_Clean"] + sums["Private_Dirty"]
            total += private if mere_fork else sums["Pss"]
    return total


def used_of_the_gpu() -> int:
    """What is in use of the first GPU by the account of NVML, in bytes."""
    nvml = importlib.import_module("pynvml")
    nvml.nvmlInit()
    return int(nvml.nvmlDeviceGetMemoryInfo(nvml.nvmlDeviceGetHandleByIndex(0)).used)


def observe(pid: int, idle_bytes: int | None) -> None:
    """Print the highest sum of each phase whenever it has grown, until killed.

    ``idle_bytes`` were in use of the GPU before the trial; without them the host is observed.
    """
    highest: dict[str, int] = defaultdict(int)
    while True:
        time.sleep(EVERY_S)
        with contextlib.suppress(OSError, IndexError, ValueError):
            phase = phase_of(pid)
            if idle_bytes is None:
                total = held_of_the_host(pid, phase)
            else:
                total = used_of_the_gpu() - idle_bytes
            if total > highest[phase]:
                highest[phase] = total
                print(json.dumps([phase, total]), flush=True)


def watched(
    children: Children, job: Job, kept: Path, limit_s: float = 1800.0
) -> tuple[Trial, dict[str, int]]:
    """The trial, and what the observer saw of it: of the GPU where it runs on one."""
    observers: list[subprocess.Popen[bytes]] = []
    gpu = ["--idle", str(used_of_the_gpu())] if job.device == "cuda" else []

    def watch(phase: str) -> None:
        if observers:
            return
        (trial,) = children_of(server_of(children))
        task = ["-m", "tests.benchmarks.memory_truth", "--observe", str(trial), *gpu]
        with kept.open("wb") as file:
            observers.append(subprocess.Popen([sys.executable, *task], stdout=file))

    try:
        trial = run_trial(children, job, Deadlines(limit_s), watch)
    finally:
        for observer in observers:
            observer.terminate()
            observer.wait()
    lines = kept.read_text().splitlines()
    return trial, dict(json.loads(line) for line in lines if line.endswith("]"))


def server_of(children: Children) -> int:
    """The process that this one has started last: the fork server."""
    return max(children_of(os.getpid()))


def starved(folder: Path) -> None:
    """A trial with little memory beyond what its process starts with."""
    limit_data(data_bytes() + int(os.environ[STARVE]) * 2**20)
    try_config(folder)


def row(name: str, trial: Trial, seen: dict[str, int]) -> str:
    """One line of the table."""
    if isinstance(trial.outcome, Failure):
        return f"| {name} | {trial.outcome.kind.value}: {trial.outcome.message} |"
    counted = {phase: size for phase, size in seen.items() if phase not in ("check", "start")}
    phase = max(counted, key=lambda phase: counted[phase])
    ours, theirs = trial.outcome.host_peak_bytes, counted[phase]
    figures = f"{format_size(ours)} | {format_size(theirs)} | {100 * (ours / theirs - 1):+.1f} %"
    return f"| {name} | {figures} | {phase} |"


def options() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="sd15-tiny", choices=reference.NAMES)
    parser.add_argument("--height", type=int, default=128)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--only", action="append", choices=CONFIGS)
    parser.add_argument("--starve", action="append", type=int, metavar="MIB")
    parser.add_argument("--phases", action="store_true")
    parser.add_argument("--observe", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--idle", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def jobs(asked: argparse.Namespace, cap_s: float | None = None) -> dict[str, Job]:
    """The job of each engine, by its name."""
    cache = default_cache_dir()
    folder = str(reference.build(asked.model, cache))
    size = {"height_px": asked.height, "width_px": asked.width, "steps": asked.steps}
    workload = Workload(f"reference:{asked.model}", **size)
    names = asked.only or CONFIGS
    known = {name: (workload, folder, "cpu", Config(CONFIGS[name]), str(cache)) for name in names}
    return {name: Job(*facts, cap_s=cap_s) for name, facts in known.items()}


def starve(asked: argparse.Namespace) -> None:
    """Print what becomes of each engine with so many MiB."""
    task, engines = "tests.benchmarks.memory_truth:starved", jobs(asked)
    for mebibytes in asked.starve:
        os.environ[STARVE] = str(mebibytes)
        with Children() as children:
            for name, job in engines.items():
                trial = run_trial(children, job, Deadlines(1800.0), lambda phase: None, task)
                print(mebibytes, name, *told(trial.outcome), flush=True)


def told(outcome: Measurement | Failure) -> tuple[object, ...]:
    """What became of a trial, in words."""
    if isinstance(outcome, Failure):
        return outcome.kind.value, outcome.phase, outcome.message
    return ("ran",)


def table(asked: argparse.Namespace) -> None:
    """Print a line for each engine, and its phases where that was asked for."""
    print("| engine | ours | the kernel's | difference | in phase |")
    print("| --- | --- | --- | --- | --- |")
    engines = jobs(asked, cap_s=0.0)
    with Children() as children:
        for name, job in engines.items():
            trial, seen = watched(children, job, default_cache_dir() / "memory_truth.txt")
            print(row(name, trial, seen), flush=True)
            if asked.phases and isinstance(trial.outcome, Measurement):
                print_phases(trial.outcome, seen)


def print_phases(outcome: Measurement, seen: dict[str, int]) -> None:
    """Our figure of each phase, of that of the observer."""
    for peak in outcome.peaks:
        known = f"{peak.peak_bytes / 2**20:.0f} of {seen.get(peak.phase, 0) / 2**20:.0f}"
        print("   ", peak.place, peak.phase, peak.source, known, flush=True)


def main() -> None:
    """Run each engine once."""
    asked = options()
    if asked.observe is not None:
        observe(asked.observe, asked.idle)
    elif asked.starve:
        starve(asked)
    else:
        table(asked)


if __name__ == "__main__":
    main()
