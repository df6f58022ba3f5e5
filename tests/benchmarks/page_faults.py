"""What page faults cost: two loops in turns, in one of which the C library keeps what is freed.

    python -m tests.benchmarks.page_faults [--rounds 3] [--calls 20]

Each round is two new processes. Before each call of the second the first makes one, and each call
of the second is divided by the geometric mean of the two of the first that it lies between. For
glibc on Linux.
"""

from __future__ import annotations

import subprocess
import sys
from statistics import geometric_mean, median, stdev

from tests.benchmarks.one_config import one_config, parser, say, spread

LOOP = """
import ctypes, resource, sys, time
import torch
from diffusers import DiffusionPipeline

folder, device, dtype, height, width, steps, prompt, freed = sys.argv[1:]
if freed == "kept":
    M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
    mallopt = ctypes.CDLL(None).mallopt
    assert mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1)
options = {} if dtype == "fp32" else {"dtype": torch.bfloat16}
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
print("ready", flush=True)
for _ in sys.stdin:
    print(*call(), flush=True)
"""


class Loop:
    """A process that makes a call when it is told to."""

    def __init__(self, words: list[str], freed: str) -> None:
        command = [sys.executable, "-W", "ignore", "-c", LOOP, *words, freed]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.calls_s: list[float] = []
        self.faults: list[float] = []

    def ready(self) -> None:
        """Wait until it is warm."""
        if self._line() != "ready\n":
            sys.exit("the loop did not start")

    def turn(self) -> None:
        """Have it make a call."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        call_s, faults = map(float, self._line().split())
        self.calls_s.append(call_s)
        self.faults.append(faults)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def compared(words: list[str], calls: int) -> float:
    """The mean ratio of a round, which is told."""
    loops = [Loop(words, freed) for freed in ("returned", "kept")]
    first, second = loops
    try:
        for loop in loops:
            loop.ready()
        for _ in range(calls):
            first.turn()
            second.turn()
        first.turn()
    finally:
        for loop in loops:
            loop.close()
    around_s = zip(first.calls_s, first.calls_s[1:], strict=False)
    pairs = zip(second.calls_s, around_s, strict=True)
    ratio = geometric_mean(call_s / geometric_mean(beside_s) for call_s, beside_s in pairs)
    faults = {"returned": median(first.faults), "kept": median(second.faults)}
    say({"page_faults": faults, "returned_s": spread(first.calls_s), "ratio": round(ratio, 4)})
    return ratio


def main() -> None:
    """Measure in turns."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--calls", type=int, default=20)
    asked = options.parse_args()
    with one_config(asked) as (_, job):
        size = map(str, (asked.height, asked.width, asked.steps))
        words = [job.folder, asked.device, asked.precision, *size, job.workload.prompts[0]]
    ratios = [compared(words, asked.calls) for _ in range(asked.rounds)]
    error = stdev(ratios) / len(ratios) ** 0.5 if len(ratios) > 1 else None
    say({"kept over returned": round(geometric_mean(ratios), 4), "standard_error": error})


if __name__ == "__main__":
    main()
