"""A trial against a timing loop as one writes it by hand, in turns, each in its own process.

    python -m tests.benchmarks.hand_timing [--rounds 5]

Prints the ratio of the two medians for each round, and the spread of the ratios: of all rounds, and
of those in which both had enough calls at the processor's best pace. By hand, too, the pace is
taken, and where enough calls were calm, they alone count.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from statistics import median
from typing import Any

from search_space.trial import Trial
from tests.benchmarks.one_config import after, one_config, parser, say, spread, tried
from tuner.measure import MINIMUM_SAMPLES
from tuner.worker import Job

BY_HAND = """
import json, os, sys, time
import torch
from diffusers import DiffusionPipeline
from tuner.pace import Pace

folder, device, dtype, height, width, steps, count, best_s, prompt = sys.argv[1:]
options = {} if dtype == "fp32" else {"dtype": torch.bfloat16}
pipe = DiffusionPipeline.from_pretrained(folder, **options).to(device)
pipe.set_progress_bar_config(disable=True)
pace = Pace(range(os.cpu_count()), float(best_s) or None)
calls = []
for call in range(2 + int(count)):
    generator = torch.Generator("cpu").manual_seed(0)
    pace.begin()
    began = time.perf_counter()
    pipe(prompt, height=int(height), width=int(width), num_inference_steps=int(steps),
         generator=generator, output_type="np")
    spent = time.perf_counter() - began
    calls.append((spent, pace.end()))
calm = [not any(seen.complaint for seen in pace.judged(beside)) for _, beside in calls]
print(json.dumps([(spent, quiet) for (spent, _), quiet in zip(calls, calm)][2:]))
"""


def by_hand(asked: argparse.Namespace, job: Job, count: int) -> list[tuple[float, bool]]:
    """The seconds of each of so many calls, and whether the processor kept its pace."""
    size = map(str, (asked.height, asked.width, asked.steps, count, job.pace_s or 0.0))
    words = [job.folder, asked.device, asked.precision, *size, job.workload.prompts[0]]
    command = [sys.executable, "-W", "ignore", "-c", BY_HAND, *words]
    printed = subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL)
    return [tuple(sample) for sample in json.loads(printed.splitlines()[-1])]


def compared(trial: Trial, samples: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    """What is told of a round."""
    measured = trial.measurement
    assert measured is not None
    calm = [call_s for call_s, quiet in samples if quiet]
    enough = len(calm) >= MINIMUM_SAMPLES
    by_hand_s = median(calm if enough else [call_s for call_s, _ in samples])
    return {
        "trial_s": round(measured.latency_s, 4),
        "by_hand_s": round(by_hand_s, 4),
        "counted": len(measured.seconds["steady"]),
        "calm_by_hand": len(calm),
        "ratio": round(measured.latency_s / by_hand_s, 4),
        "calm": enough and measured.disturbed is None,
    }


def main() -> None:
    """Measure in turns."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--calls", type=int, default=10, help="by hand, in each round")
    asked = options.parse_args()
    rounds = []
    with one_config(asked) as (children, job):
        for _ in range(asked.rounds):
            trial = tried(children, job)
            job = after(job, trial)
            samples = by_hand(asked, job, asked.calls)
            rounds.append(compared(trial, samples))
            say({"round": len(rounds), **rounds[-1]})
    say({"ratio": spread([told["ratio"] for told in rounds])})
    if calm := [told["ratio"] for told in rounds if told["calm"]]:
        say({"ratio of calm rounds": spread(calm)})


if __name__ == "__main__":
    main()
