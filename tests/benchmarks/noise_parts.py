"""What each part of the noise machinery has decided on recorded trials.

    python -m tests.benchmarks.noise_parts

The recordings are of the version that had a CPU speed probe beside and within calls, waited for
calm and repeated calls. Each part is left out in turn, and every two configs of a round are
compared anew: by the calls of the same turns where they were interleaved, otherwise by medians. A
decision is which of the two is faster, or that they are within 15 % of each other, as finalists
are.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from itertools import combinations
from math import log
from pathlib import Path
from statistics import median
from typing import Any

from tuner.records.rules import REACH

KEPT = Path(__file__).with_name("noise_kept")
LEAST = 3
"""As many calm calls are needed for them alone to count."""

EVERY = frozenset({"others_cores", "probe_s", "probe_within_s"})
READINGS = {
    "as it was": EVERY,
    "without the probe within calls": EVERY - {"probe_within_s"},
    "without the probe beside calls": EVERY - {"probe_s"},
    "without both": frozenset({"others_cores"}),
    "without any reading: all calls count": frozenset[str](),
}


def recordings() -> list[dict[str, Any]]:
    """The kept trials."""
    rows = []
    for path in sorted(KEPT.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows += [json.loads(line) for line in file]
    return rows


def calls(row: dict[str, Any], readings: frozenset[str], repeats: bool) -> dict[int, float]:
    """The calls that count, by turn or, alone, by place; without repeats those made first."""
    busy = {
        (sample, position)
        for sample, position, kind, _, complaint in row["conditions"]
        if complaint and kind in readings
    }
    made = [
        (row["turns"].get(kind, range(10**6))[place], (kind, place), call_s)
        for kind in ("steady", "disturbed")
        for place, call_s in enumerate(row["seconds"].get(kind, ()))
    ]
    if not repeats:
        made = sorted(made)[:LEAST]
    calm = {turn: call_s for turn, key, call_s in made if key not in busy}
    return calm if len(calm) >= LEAST else {turn: call_s for turn, _, call_s in made}


def decision(one: dict[int, float], other: dict[int, float], interleaved: bool) -> int:
    """1 where the first is faster by more than finalists differ, -1 where the other is, or 0."""
    shared = one.keys() & other.keys()
    if interleaved and len(shared) >= LEAST:
        ratio = median(other[turn] / one[turn] for turn in shared)
    else:
        ratio = median(other.values()) / median(one.values())
    return 0 if abs(log(ratio)) <= log(REACH) else (1 if ratio > 1 else -1)


def decisions(readings: frozenset[str], repeats: bool = True) -> Iterator[int]:
    """Of each pair of a round."""
    rounds: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in recordings():
        rounds.setdefault((row["way"], row["round"]), []).append(row)
    for (way, _), rows in rounds.items():
        for one, other in combinations(rows, 2):
            pair = (calls(row, readings, repeats) for row in (one, other))
            yield decision(*pair, way == "interleaved")


def main() -> None:
    """Print how many decisions each part changes, and what it cost."""
    rows = recordings()
    before = list(decisions(EVERY))
    print("| left out | decisions that change |")
    print("| --- | --- |")
    for name, readings in READINGS.items():
        print(f"| {name} | {changed(before, decisions(readings))} of {len(before)} |")
    few = changed(before, decisions(frozenset(), repeats=False))
    print(f"| without readings and repeats: the first three calls | {few} of {len(before)} |")
    waited = [row for row in rows if sum(row["seconds"].get("wait", ()))]
    wait_s = sum(sum(row["seconds"]["wait"]) for row in waited)
    cost_s = sum(row["cost_s"] for row in rows)
    print(f"{len(rows)} trials, {cost_s:.0f} s; {len(waited)} waited, {wait_s:.0f} s in all.")


def changed(before: list[int], after: Iterator[int]) -> int:
    return sum(one != other for one, other in zip(before, after, strict=True))


if __name__ == "__main__":
    main()
