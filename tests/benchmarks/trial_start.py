"""From asking for a trial's process to its first line, by fork and by a new interpreter.

Run from the project's folder: python -m tests.benchmarks.trial_start
"""

from __future__ import annotations

import json
import sys
import time
from statistics import median

from tuner.processes.children import Children

STARTED = "tests.tuner.tasks:started"


def starts_s(forks: bool, count: int) -> list[float]:
    with Children(forks) as children:
        children.preload(["diffusers:StableDiffusionPipeline", "diffusers:UNet2DConditionModel"])
        children.call(STARTED, {})
        found = []
        for _ in range(count):
            found.append(children.call(STARTED, {})["start_s"])
            time.sleep(0.2)
    return found


def main() -> None:
    figures = {}
    for name, forks, count in (("forked", True, 30), ("spawned", False, 5)):
        samples_s = starts_s(forks, count)
        figures[name] = {
            "count": count,
            "median_s": round(median(samples_s), 4),
            "maximum_s": round(max(samples_s), 4),
        }
    json.dump(figures, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
