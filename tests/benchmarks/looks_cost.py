"""What the looks within a call cost: small products on all cores, with looks and without, in turns.

    python -m tests.benchmarks.looks_cost [--minutes 2]

Small products wait for the slowest core often, so they feel a look the most. Prints the time with
looks over that without, for pairs of windows side by side.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from statistics import quantiles, stdev
from typing import Any

from tests.benchmarks.one_config import say, summary
from tuner.measuring.noise.cpu_speed_within import Within
from tuner.measuring.noise.hashing import few

WINDOW_S = 0.4


def products(halves: Any, matrix: Any) -> float:
    """The seconds of one round of products, over a window."""
    rounds, began_s = 0, time.perf_counter()
    while (spent_s := time.perf_counter() - began_s) < WINDOW_S:
        matrix @ matrix
        halves @ halves
        rounds += 1
    return spent_s / rounds


def main() -> None:
    """Compute in turns, and compare."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    asked = parser.parse_args()
    halves, matrix = torch.randn(256, 256).bfloat16(), torch.randn(512, 512)
    within, ratios = Within(few(range(os.cpu_count() or 1))), []
    end_s = time.monotonic() + 60 * asked.minutes
    while time.monotonic() < end_s:
        spent_s = {}
        for looking in random.sample((False, True), 2):
            if looking:
                within.start()
            spent_s[looking] = products(halves, matrix)
            within.stop()
        ratios.append(spent_s[True] / spent_s[False])
    within.close()
    low, *_, high = quantiles(ratios, n=8)
    middle = [ratio for ratio in ratios if low <= ratio <= high]
    say({"with looks over without": summary(middle), "pairs": len(ratios)})
    say({"standard_error": round(1.2533 * stdev(middle) / len(middle) ** 0.5, 4)})


if __name__ == "__main__":
    main()
