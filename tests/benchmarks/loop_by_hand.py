"""A timing loop as one writes it by hand: a process of its own that makes a call when it is told.

What its calls are compared with lies between them: whatever slows the machine for longer than a
call slows both, and noise alone moves the mean of the logarithms nowhere.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Client
from pathlib import Path
from statistics import geometric_mean

from search_space.knobs.allocator_kept import M_MMAP_MAX, M_TRIM_THRESHOLD
from tuner.records.job import Job

SCRIPT = f"""
import resource, sys, time
import torch
from multiprocessing.connection import Listener
from diffusers import DiffusionPipeline

place, freed, folder, device, dtype, height, width, steps, prompt = sys.argv[1:]
if freed == "kept":
    import ctypes
    mallopt = ctypes.CDLL(None).mallopt
    assert mallopt({M_MMAP_MAX}, 0) and mallopt({M_TRIM_THRESHOLD}, -1)
options = {{}} if dtype == "fp32" else {{"dtype": torch.bfloat16}}
pipe = DiffusionPipeline.from_pretrained(folder, **options).to(device)
pipe.set_progress_bar_config(disable=True)

def call():
    generator = torch.Generator("cpu").manual_seed(0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    began = time.perf_counter()
    pipe(prompt, height=int(height), width=int(width), num_inference_steps=int(steps),
         generator=generator, output_type="np")
    spent = time.perf_counter() - began
    return spent, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

call(), call()
with Listener(place) as listener:
    print("ready", flush=True)
    with listener.accept() as asking:
        while asking.recv():
            asking.send(call())
"""


def call_words(job: Job) -> list[str]:
    """What a loop is told of the job, in fp32 or bf16: the model, and how to call it."""
    call = job.workload
    size = map(str, (call.height_px, call.width_px, call.steps))
    return [job.folder, job.device, job.config.get("precision", "fp32"), *size, call.prompts[0]]


@contextmanager
def warm(words: Sequence[str], freed: str, place: Path) -> Iterator[None]:
    """A loop's process, warm and to be asked at ``place``; memory is freed as ``freed`` says.

    It is ``returned`` to the kernel as the C library likes, or ``kept``.
    """
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(place), freed, *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            if process.stdout.readline() != "ready\n":
                sys.exit("the loop did not start")
            yield
        finally:
            process.kill()


class Loop:
    """A loop that is warm, by the one process that asks it for its calls, and what they took."""

    def __init__(self, place: Path) -> None:
        self._asking = Client(str(place))
        self.calls_s: list[float] = []
        self.faults: list[float] = []

    def turn(self) -> None:
        """Have it make a call."""
        self._asking.send(True)
        call_s, faults = self._asking.recv()
        self.calls_s.append(call_s)
        self.faults.append(float(faults))

    def close(self) -> None:
        """End it."""
        self._asking.send(False)
        self._asking.close()


def ratios(calls: Iterable[tuple[int, float]], loop_s: Sequence[float]) -> list[float]:
    """Each call over the geometric mean of the two of the loop that it lies between.

    A call is the number of turns that the loop had had before it, and its seconds.
    """
    return [call_s / geometric_mean(loop_s[turns - 1 : turns + 1]) for turns, call_s in calls]
