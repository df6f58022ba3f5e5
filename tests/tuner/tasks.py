"""Tasks that a child process can be given: each behaves in one way that a trial might."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from search_space.errors import ModelError
from tuner.probing import answer_each
from tuner.worker import leave_result


def enter(folder: Path, phase: str) -> None:
    with (folder / "events.jsonl").open("a") as file:
        file.write(json.dumps({"phase": phase}) + "\n")


def measured(folder: Path) -> None:
    seconds = {"start": [0.01], "first_call": [0.2], "steady": [0.1, 0.3, 0.2], "step": []}
    peaks = [{"place": "host", "phase": "steady", "source": "VmHWM", "peak_bytes": 2**20}]
    leave_result(folder, {"measurement": {"seconds": seconds, "peaks": peaks, "psnr_db": 40.0}})


def started(folder: Path) -> None:
    start_s = time.monotonic() - float(os.environ["TUNE_SENT_S"])
    leave_result(folder, {"start_s": start_s, "torch": "torch" in sys.modules})


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
    enter(folder, "load")
    code = "import time; kept = bytearray(300 * 2**20); time.sleep(1.5)"
    subprocess.run([sys.executable, "-c", code], check=True)
    measured(folder)


def segfaults(folder: Path) -> None:
    enter(folder, "first_call")
    os.kill(os.getpid(), signal.SIGSEGV)


def exits(folder: Path) -> None:
    print("goodbye", flush=True)
    os._exit(7)


def raises(folder: Path) -> None:
    raise RuntimeError("nobody expected this")


def model_is_bad(folder: Path) -> None:
    leave_result(folder, {"error": ModelError.__name__, "message": "no such model"})


def hang(question: dict[str, str]) -> None:
    Path(question["seen"]).write_text(str(os.getpid()))
    time.sleep(60)


def fail(question: dict[str, str]) -> None:
    raise ValueError("this device is not one:\n  try another.")


def crash(question: dict[str, str]) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


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
}


def try_ways_to_end(folder: Path) -> None:
    answer_each(folder, lambda name, question: WAYS_TO_END[name](question))
