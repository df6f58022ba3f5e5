"""Tasks that a child process can be given: each behaves in one way that a trial might."""

from __future__ import annotations

import json
import mmap
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

from search_space.errors import ModelError
from tuner.discovery.probing import answer_each
from tuner.measuring.failures import failure_of
from tuner.measuring.interleaving import turns_at
from tuner.measuring.memory.device import COUNTERS, Counters
from tuner.measuring.memory.limits import data_bytes, limit_data, limit_memory
from tuner.measuring.phases import Phases
from tuner.measuring.worker import stop_beyond_budget
from tuner.processes.task import leave_result
from tuner.processes.tree import CONTROLLER
from tuner.records.job import Job

NOTHING_ELSE = {"peaks": [], "fidelity": {}, "conditions": [], "work": {}, "images": 1, "turns": {}}


def enter(folder: Path, phase: str) -> None:
    with (folder / "events.jsonl").open("a") as file:
        file.write(json.dumps({"phase": phase}) + "\n")


def measured(folder: Path) -> None:
    seconds = {"start": [0.01], "first_call": [0.2], "steady": [0.1, 0.3, 0.2], "step": []}
    peaks = [{"place": "host", "phase": "steady", "source": "VmHWM", "peak_bytes": 2**20}]
    seen = {**NOTHING_ELSE, "seconds": seconds, "peaks": peaks}
    leave_result(folder, {"measurement": seen})


def started(folder: Path) -> None:
    start_s = time.monotonic() - float(os.environ["TUNE_SENT_S"])
    controller = int(os.environ[CONTROLLER])
    seen = {"start_s": start_s, "torch": "torch" in sys.modules, "controller": controller}
    leave_result(folder, seen)


def hashes(folder: Path) -> None:
    seen = {"hash": hash("diffusers"), "variable": os.environ.get("SEEN_BEFORE_PYTHON_STARTED")}
    leave_result(folder, seen)


def hangs(folder: Path) -> None:
    print("about to hang", flush=True)
    enter(folder, "load")
    enter(folder, "steady")
    time.sleep(60)


def hangs_with_grandchild(folder: Path) -> None:
    grandchild = subprocess.Popen(["sleep", "60"], start_new_session=True)
    (Path(os.environ["SEEN_IN"]) / "pids").write_text(f"{os.getpid()} {grandchild.pid} {folder}")
    enter(folder, "load")
    time.sleep(60)


def allocates_in_grandchild(folder: Path) -> None:
    phases = Phases(folder, "cpu")
    phases.enter("load")
    code = "import time; kept = bytearray(300 * 2**20); time.sleep(1.5)"
    subprocess.run([sys.executable, "-c", code], check=True)
    phases.leave()
    leave_peaks(folder, phases)


def fills_a_device(folder: Path) -> None:
    """A Gaudi whose driver tells of 100 MiB more at each look; its allocator takes no limit."""
    looks = []

    def used(index: int) -> int:
        looks.append(index)
        return 100 * 2**20 * len(looks)

    told = Counters("described", used, lambda index: 0, lambda index: 0, print, lambda: 1)
    COUNTERS["hpu"] = lambda: told
    job = Job.from_json(json.loads((folder / "request.json").read_text()))
    phases = Phases(folder, job.device)
    stop_beyond_budget(job, folder, phases)
    phases.enter("load")
    time.sleep(20)


MIB = 2**20


def spikes_while_loading(folder: Path) -> None:
    phases = Phases(folder, "cpu")
    phases.enter("load")
    time.sleep(0.1)
    held = b"x" * (500 * MIB)
    time.sleep(0.02)
    del held
    time.sleep(0.1)
    phases.leave()
    leave_peaks(folder, phases)


def maps_weights(folder: Path) -> None:
    """A file is mapped and read while loading; a part of it is held on to and used."""
    (folder / "weights").write_bytes(b"x" * (300 * MIB))
    phases = Phases(folder, "cpu")
    phases.enter("load")
    with (folder / "weights").open("rb") as file:
        kept = mmap.mmap(file.fileno(), 100 * MIB, access=mmap.ACCESS_READ)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as passing:
            sum(passing[:: mmap.PAGESIZE])
    phases.enter("steady")
    sum(kept[:: mmap.PAGESIZE])
    phases.leave()
    leave_peaks(folder, phases)


def leave_peaks(folder: Path, phases: Phases) -> None:
    peaks = [asdict(peak) for peak in phases.peaks]
    seconds = {"steady": [0.1]}
    seen = {**NOTHING_ELSE, "seconds": seconds, "peaks": peaks}
    leave_result(folder, {"measurement": seen})


def runs_away(folder: Path) -> None:
    """Allocates without end, 64 MiB after 64 MiB, as fast as a slow disk."""
    enter(folder, "load")
    held = []
    while True:
        held.append(b"x" * (64 * MIB))
        time.sleep(0.03)


def runs_away_in_grandchild(folder: Path) -> None:
    enter(folder, "load")
    code = "import time\nkept = []\nwhile True: kept.append(b'x' * 2**26); time.sleep(0.03)"
    subprocess.run([sys.executable, "-c", code], check=True)


def runs_into_its_limit(folder: Path) -> None:
    """A trial whose first allocation is beyond all that its budget allows."""
    job = Job.from_json(json.loads((folder / "request.json").read_text()))
    phases = Phases(folder, "cpu")
    phases.enter("load")
    limit_memory(job.budget, "cpu", None, folder)
    try:
        import torch

        torch.ones(4 * 2**30, dtype=torch.uint8)
    except Exception as error:
        leave_result(folder, {"failure": asdict(failure_of(error, phases))})


def fails_in_other_words(folder: Path) -> None:
    """A library that says nothing of memory, with little of it left."""
    import torch  # noqa: F401

    phases = Phases(folder, "cpu")
    phases.enter("first_call")
    limit_data(data_bytes() + 16 * MIB)
    leave_result(folder, {"failure": asdict(failure_of(RuntimeError("no primitive"), phases))})


def gives_up_for_memory(folder: Path) -> None:
    enter(folder, "first_call")
    print("terminate called after throwing an instance of 'std::bad_alloc'", flush=True)
    os.kill(os.getpid(), signal.SIGABRT)


def makes_calls(folder: Path) -> None:
    """As many calls as the model's name says, one after the other or in turns; each is told.

    Behind the number stands how the first call ends, where it ends badly.
    """
    job = Job.from_json(json.loads((folder / "request.json").read_text()))
    number, _, way = job.workload.model.partition(" ")
    (Path(job.cache_dir) / f"pid of {number}").write_text(f"{os.getpid()}\n")

    def begin(phase: str) -> None:
        enter(folder, phase)
        with (Path(job.cache_dir) / "done").open("a") as told:
            told.write(f"{number} {phase}\n")

    made = calls_in_turns(job, int(number), way, partial(enter, folder), begin)
    for phase in ("check", "end"):
        time.sleep(0.1)
        begin(phase)
    seconds = {"steady": [0.1] * len(made)}
    kept = {**NOTHING_ELSE, "seconds": seconds, "turns": {"steady": made}}
    leave_result(folder, {"measurement": kept})


def calls_in_turns(job, number, way, wait, begin):
    turns = turns_at(job.turns, wait)
    begin("load")
    made = []
    while turns.another(len(made) >= number):
        begin("steady")
        made.append(turns.turn)
        WAYS_TO_END[way or "works"]({"seen": f"{job.cache_dir}/hangs"})
    return made


def told_to_go_first(folder: Path) -> None:
    adjusted = Path("/proc/self/oom_score_adj").read_text().strip()
    leave_result(folder, {"oom_score_adj": int(adjusted)})


def segfaults(folder: Path) -> None:
    enter(folder, "first_call")
    os.kill(os.getpid(), signal.SIGSEGV)


def exits(folder: Path) -> None:
    print("goodbye", flush=True)
    os._exit(7)


def raises(folder: Path) -> None:
    raise RuntimeError("nobody expected this")


def tells_secrets(folder: Path) -> None:
    """Print what its variables hold, and end with it too."""
    told = f"token {os.environ['HF_TOKEN']}, password {os.environ['PGPASSWORD']}"
    print(told)
    leave_result(folder, {"error": ModelError.__name__, "message": told})


def model_is_bad(folder: Path) -> None:
    leave_result(folder, {"error": ModelError.__name__, "message": "no such model"})


def hang(question: dict[str, str]) -> None:
    Path(question["seen"]).write_text(str(os.getpid()))
    time.sleep(60)


def fail(question: dict[str, str]) -> None:
    raise ValueError("this device is not one:\n  try another.")


def crash(question: dict[str, str]) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def end_server(question: dict[str, str]) -> None:
    """The process that has forked this one is killed, once."""
    seen = Path(question["seen"])
    if not seen.exists():
        seen.touch()
        # Until then the controller has seen who has ended before.
        time.sleep(3)
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)


WAYS_TO_END = {
    "works": lambda question: None,
    "works-too": lambda question: None,
    "refuses": lambda question: "it is too slow",
    "echoes": lambda question: f"asked about {question['device']} and {question['head_size']}",
    "raises": fail,
    "exits": lambda question: os._exit(0),
    "crashes": crash,
    "crashes-too": crash,
    "hangs": hang,
    "ends-server": end_server,
}


def try_ways_to_end(folder: Path) -> None:
    answer_each(folder, lambda name, question: WAYS_TO_END[name](question))


def packages(folder: Path) -> None:
    import queue

    import search_space
    import storage
    import tuner

    modules = (search_space, storage, tuner, queue)
    leave_result(folder, {module.__name__: module.__file__ for module in modules})
