"""A trial against a timing loop as one writes it by hand, each in its own process, call by call.

    python -m tests.benchmarks.hand_timing [--rounds 5] [--choose allocator=system-kept]

Each round is a trial and a loop in new processes. Before each call of the trial the loop makes one,
and each call of the trial is divided by the geometric mean of the two of the loop that it lies
between: what slows the machine for longer than that slows both, and noise alone moves the mean of
the logarithms nowhere. The seconds are those that the trial reports.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from statistics import geometric_mean, median, stdev
from typing import Any, NamedTuple

from search_space.trial import Condition, Trial
from tests.benchmarks.loop_by_hand import Loop, call_words, ratios, warm
from tests.benchmarks.one_config import one_config, parser, say, summary
from tuner.measuring import worker
from tuner.measuring.noise.guard import Guard
from tuner.processes.children import Children
from tuner.records.job import Job
from tuner.runners.base import Deadlines
from tuner.runners.trial_process import run_trial

PLACE = "HAND_TIMING_FOLDER"
"""The variable that names the folder of the loop's socket and of the seconds that it took."""

LOOP, SECONDS = "loop", "seconds.json"
TURNS = "turns"
KEPT = "allocator=system-kept"


class Round(NamedTuple):
    """The trial's calls over those of the loop, and the median of the latter."""

    ratios: list[float]
    by_hand_s: float


class Interleaved(Guard):
    """Has the loop make a call before each of the trial's, and after the last."""

    def __init__(self, *known: Any) -> None:
        super().__init__(*known)
        self._folder = Path(os.environ[PLACE])
        self._loop = Loop(self._folder / LOOP)

    def begin(self) -> None:
        """The loop's turn, and then a call begins."""
        self._loop.turn()
        super().begin()

    def end(self) -> tuple[Condition, ...]:
        """What was seen, and after how many turns of the loop."""
        # The loop is on the GPU too, and waits: it disturbs nothing.
        seen = (
            replace(each, complaint="") if each.kind == "gpu_others" else each
            for each in super().end()
        )
        return (*seen, Condition(TURNS, float(len(self._loop.calls_s))))

    def close(self) -> None:
        """The loop's last turn."""
        self._loop.turn()
        self._loop.close()
        kept = json.dumps(self._loop.calls_s)
        (self._folder / SECONDS).write_text(kept, encoding="utf-8")


def interleaved(folder: Path) -> None:
    """What ``try_config`` does, with the loop between the calls."""
    guards: list[Interleaved] = []

    def watch(device: str) -> Interleaved:
        guards.append(Interleaved(device))
        return guards[-1]

    worker.Guard = watch  # type: ignore[assignment,misc]
    worker.try_config(folder)
    for guard in guards:
        guard.close()


def steady(trial: Trial) -> Iterator[tuple[int, float]]:
    """Each call that the trial reports after it was warm: the loop's turns before it, seconds."""
    measured = trial.measurement
    if measured is None:
        sys.exit(f"the trial failed: {trial.outcome}")
    for seen in measured.conditions:
        if seen.kind == TURNS and seen.sample in ("steady", "disturbed"):
            yield int(seen.value), measured.seconds[seen.sample][seen.position]


def options() -> argparse.Namespace:
    """What was asked for on the command line."""
    found = parser(__doc__)
    found.add_argument("--rounds", type=int, default=5)
    asked = found.parse_args()
    if any(choice != KEPT for choice in asked.choose):
        found.error(f"the loop by hand knows {KEPT} alone")
    return asked


def measured_round(children: Children, job: Job, words: Sequence[str], folder: Path) -> Round:
    """A trial and a loop in turns, each in a new process."""
    (folder / LOOP).unlink(missing_ok=True)
    freed = "kept" if job.config.get("allocator") == "system-kept" else "returned"
    task = f"{__spec__.name}:{interleaved.__name__}"
    with warm(words, freed, folder / LOOP):
        trial = run_trial(children, job, Deadlines(1200.0), lambda phase: None, task)
    by_hand_s = json.loads((folder / SECONDS).read_text(encoding="utf-8"))
    return Round(ratios(steady(trial), by_hand_s), median(by_hand_s))


def told_rounds(asked: argparse.Namespace, folder: Path) -> Iterator[list[float]]:
    """The ratios of each round, which is told as it is done."""
    os.environ[PLACE] = str(folder)
    with one_config(asked) as (children, job):
        words = call_words(job)
        for number in range(1, asked.rounds + 1):
            found = measured_round(children, job, words, folder)
            facts = {"round": number, "by_hand_s": round(found.by_hand_s, 4)}
            mean = round(geometric_mean(found.ratios), 4)
            say({**facts, **summary(found.ratios), "mean": mean})
            yield found.ratios


def main() -> None:
    """Measure in turns."""
    asked = options()
    with tempfile.TemporaryDirectory() as made:
        rounds = list(told_rounds(asked, Path(made)))
    means = [geometric_mean(found) for found in rounds]
    say({"means of the rounds": summary(means), "all calls": summary([*chain(*rounds)])})
    if len(means) > 1:
        error = stdev(means) / len(means) ** 0.5
        say({"mean": round(geometric_mean(means), 4), "standard error": round(error, 4)})


if __name__ == "__main__":
    main()
