"""A trial against a timing loop as one writes it by hand, each in its own process, call by call.

    python -m tests.benchmarks.hand_timing [--rounds 5] [--choose allocator=system-kept]

Each round is a trial and a loop in new processes. Before each call of the trial the loop makes one,
and each call of the trial is divided by the geometric mean of the two of the loop that it lies
between: what slows the machine for longer than that slows both, and noise alone moves the mean of
the logarithms nowhere. The seconds are those that the trial reports.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from multiprocessing.connection import Client
from pathlib import Path
from statistics import geometric_mean, median, stdev
from typing import Any

from search_space.trial import Condition, Trial
from tests.benchmarks.one_config import one_config, parser, say, spread
from tuner import worker
from tuner.noise import Guard
from tuner.runner import Deadlines, run_trial

BY_HAND = """
import os, sys, time
import torch
from multiprocessing.connection import Listener
from diffusers import DiffusionPipeline

folder, device, dtype, height, width, steps, prompt, allocator, place = sys.argv[1:]
if allocator == "system-kept":
    import ctypes
    M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
    mallopt = ctypes.CDLL(None).mallopt
    assert mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1)
options = {} if dtype == "fp32" else {"dtype": torch.bfloat16}
pipe = DiffusionPipeline.from_pretrained(folder, **options).to(device)
pipe.set_progress_bar_config(disable=True)

def call_s():
    generator = torch.Generator("cpu").manual_seed(0)
    began = time.perf_counter()
    pipe(prompt, height=int(height), width=int(width), num_inference_steps=int(steps),
         generator=generator, output_type="np")
    return time.perf_counter() - began

call_s(), call_s()
with Listener(place) as listener:
    print("ready", flush=True)
    with listener.accept() as trial:
        while trial.recv():
            trial.send(call_s())
"""

PLACE = "HAND_TIMING_FOLDER"
"""The variable that names the folder of the loop's socket and of the seconds that it took."""

TURNS = "turns"


class InTurns(Guard):
    """Has the loop make a call before each of the trial's, and after the last."""

    def __init__(self, *known: Any) -> None:
        super().__init__(*known)
        self._folder = Path(os.environ[PLACE])
        self._loop = Client(str(self._folder / "loop"))
        self._seconds: list[float] = []

    def begin(self) -> None:
        """The loop's turn, and then a call begins."""
        self._turn()
        super().begin()

    def end(self) -> tuple[Condition, ...]:
        """What was seen, and after how many turns of the loop."""
        return (*super().end(), Condition(TURNS, float(len(self._seconds))))

    def close(self) -> None:
        """The loop's last turn."""
        super().close()
        self._turn()
        self._loop.send(False)
        (self._folder / "seconds.json").write_text(json.dumps(self._seconds), encoding="utf-8")

    def _turn(self) -> None:
        self._loop.send(True)
        self._seconds.append(self._loop.recv())


def in_turns(folder: Path) -> None:
    """What ``try_config`` does, with the loop between the calls."""
    worker.Guard = InTurns  # type: ignore[misc]
    worker.try_config(folder)


@contextmanager
def by_hand(words: Sequence[str], folder: Path) -> Iterator[None]:
    """The loop, ready for its turns."""
    command = [sys.executable, "-W", "ignore", "-c", BY_HAND, *words, str(folder / "loop")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            if process.stdout.readline() != "ready\n":
                sys.exit("the loop did not start")
            yield
        finally:
            process.kill()


def ratios(trial: Trial, by_hand_s: Sequence[float]) -> list[float]:
    """Each call that the trial reports after it was warm, over what the loop took around it."""
    measured = trial.measurement
    if measured is None:
        sys.exit(f"the trial failed: {trial.outcome}")
    found = []
    for seen in measured.conditions:
        if seen.kind == TURNS and seen.sample in ("steady", "disturbed"):
            turn = int(seen.value)
            call_s = measured.seconds[seen.sample][seen.position]
            found.append(call_s / geometric_mean(by_hand_s[turn - 1 : turn + 1]))
    return found


def main() -> None:
    """Measure in turns."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=5)
    asked = options.parse_args()
    if any(choice != "allocator=system-kept" for choice in asked.choose):
        options.error("the loop by hand knows allocator=system-kept alone")
    rounds: list[list[float]] = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        os.environ[PLACE] = made
        with one_config(asked) as (children, job):
            size = map(str, (asked.height, asked.width, asked.steps))
            words = [job.folder, asked.device, asked.precision, *size, job.workload.prompts[0]]
            words.append(job.config.get("allocator", "system"))
            for _ in range(asked.rounds):
                task = f"{__spec__.name}:{in_turns.__name__}"
                with by_hand(words, folder):
                    trial = run_trial(children, job, Deadlines(1200.0), lambda phase: None, task)
                by_hand_s = json.loads((folder / "seconds.json").read_text(encoding="utf-8"))
                rounds.append(ratios(trial, by_hand_s))
                say(
                    {
                        "round": len(rounds),
                        "by_hand_s": round(median(by_hand_s), 4),
                        **spread(rounds[-1]),
                        "mean": round(geometric_mean(rounds[-1]), 4),
                    }
                )
    means = [geometric_mean(found) for found in rounds]
    say({"means of the rounds": spread(means), "all calls": spread([*chain(*rounds)])})
    if len(means) > 1:
        error = stdev(means) / len(means) ** 0.5
        say({"mean": round(geometric_mean(means), 4), "standard error": round(error, 4)})


if __name__ == "__main__":
    main()
