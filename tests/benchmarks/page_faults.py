"""What page faults cost: two loops in turns, in one of which the C library keeps what is freed.

    python -m tests.benchmarks.page_faults [--rounds 3] [--calls 20]

Each round is two new processes. Before each call of the second the first makes one, and each call
of the second is divided by the geometric mean of the two of the first that it lies between. For
glibc on Linux.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import geometric_mean, median, stdev

from tests.benchmarks.loop_by_hand import Loop, call_words, ratios, warm
from tests.benchmarks.one_config import one_config, parser, say, summary


def interleaved(words: list[str], calls: int, folder: Path) -> tuple[Loop, Loop]:
    """Two loops, and what they took: the first returns what is freed, the second keeps it."""
    places = folder / "returned", folder / "kept"
    with warm(words, "returned", places[0]), warm(words, "kept", places[1]):
        first, second = map(Loop, places)
        for _ in range(calls):
            first.turn()
            second.turn()
        first.turn()
        first.close()
        second.close()
    return first, second


def compared(words: list[str], calls: int) -> float:
    """The mean ratio of a round, which is told."""
    with tempfile.TemporaryDirectory() as made:
        first, second = interleaved(words, calls, Path(made))
    ratio = geometric_mean(ratios(enumerate(second.calls_s, 1), first.calls_s))
    faults = {"returned": median(first.faults), "kept": median(second.faults)}
    say({"page_faults": faults, "returned_s": summary(first.calls_s), "ratio": round(ratio, 4)})
    return ratio


def main() -> None:
    """Measure in turns."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--calls", type=int, default=20)
    asked = options.parse_args()
    with one_config(asked) as (_, job):
        words = call_words(job)
    found = [compared(words, asked.calls) for _ in range(asked.rounds)]
    error = stdev(found) / len(found) ** 0.5 if len(found) > 1 else None
    say({"kept over returned": round(geometric_mean(found), 4), "standard_error": error})


if __name__ == "__main__":
    main()
