"""A trial against a timing loop as one writes it by hand, in turns, each in its own process.

    python -m tests.benchmarks.hand_timing [--rounds 5]

Prints the ratio of the two medians for each round, and the spread of the ratios.
"""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median

from tests.benchmarks.one_config import one_config, parser, say, spread, tried

BY_HAND = """
import json, sys, time
import torch
from diffusers import DiffusionPipeline

folder, device, dtype, height, width, steps, count, prompt = sys.argv[1:]
options = {} if dtype == "fp32" else {"dtype": torch.bfloat16}
pipe = DiffusionPipeline.from_pretrained(folder, **options).to(device)
pipe.set_progress_bar_config(disable=True)
samples = []
for call in range(2 + int(count)):
    generator = torch.Generator("cpu").manual_seed(0)
    began = time.perf_counter()
    pipe(prompt, height=int(height), width=int(width), num_inference_steps=int(steps),
         generator=generator, output_type="np")
    samples.append(time.perf_counter() - began)
print(json.dumps(samples[2:]))
"""


def main() -> None:
    """Measure in turns."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=5)
    asked = options.parse_args()
    ratios = []
    with one_config(asked) as (children, job):
        for number in range(asked.rounds):
            measured = tried(children, job).measurement
            assert measured is not None
            count = len(measured.seconds["steady"])
            size = (asked.height, asked.width, asked.steps, count)
            words = [
                job.folder,
                asked.device,
                asked.precision,
                *map(str, size),
                job.workload.prompts[0],
            ]
            command = [sys.executable, "-W", "ignore", "-c", BY_HAND, *words]
            printed = subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL)
            by_hand_s = median(json.loads(printed.splitlines()[-1]))
            ratios.append(measured.latency_s / by_hand_s)
            say(
                {
                    "round": number,
                    "trial_s": round(measured.latency_s, 4),
                    "by_hand_s": round(by_hand_s, 4),
                    "samples": count,
                    "ratio": round(ratios[-1], 4),
                    "disturbed": measured.disturbed,
                }
            )
    say({"ratio": spread(ratios)})


if __name__ == "__main__":
    main()
