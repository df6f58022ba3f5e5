"""What rows say, in lines for a terminal."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from tests.gpu.rows import Row

MARKS = ("stopped", "skipped", "unavailable", "failure")


def in_short(error: BaseException) -> str:
    """An error in a line."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", 300, placeholder=" ...")


def line(row: Row) -> str:
    """What a row says, in a line."""
    name = row.get("item") or f"  {row['within']}"
    for mark in MARKS:
        if mark in row:
            return f"{name}: {mark}: {row[mark]}"
    without = f", without {', '.join(row['left_out'])}" if "left_out" in row else ""
    return f"{name}: {figure(row)}{without}"


def figure(row: Row) -> str:
    """The figure for which a row was measured."""
    if "steady_s" in row:
        db = "" if row["psnr_db"] is None else f", {row['psnr_db']:.0f} dB"
        return f"{1000 * median(row['steady_s']):.1f} ms{db}, {row['device_bytes'] / 2**20:.0f} MiB"
    if "result" in row:
        faster = row["result"]["speedup"]
        return f"{row['result']['winner'] or 'the default'} wins" + (
            f", {faster:.2f} times as fast" if faster else ""
        )
    if "again" in row:
        flagged = ", flagged" if row["again"]["disturbed"] else ""
        return f"{1000 * row['again']['median_s']:.1f} ms{flagged}"
    if "phases" in row:
        ours, theirs = (max(each) / 2**20 for each in zip(*row["phases"].values(), strict=True))
        return f"{ours:.0f} MiB, the other account has {theirs:.0f} MiB"
    if "mean" in row:
        return f"{row['mean']:.3f} times the loop by hand"
    if "not_available" in row:
        return f"{sum(map(len, row['not_available'].values()))} choices are not available"
    if "load_s" in row:
        return f"its script made an image, and tuner.load took {row['load_s']:.1f} s"
    return "done"


def table(rows: Sequence[Row]) -> Iterator[str]:
    """One line an item, in columns; what was skipped in one; and how many came to what."""
    ends = [row for row in rows if "item" in row]
    skipped = Counter(row["part"] for row in ends if "skipped" in row)
    began = [row for row in ends if "skipped" not in row]
    width = max((len(row["item"]) for row in began), default=4)
    yield f"{'part':<4}  {'item':<{width}}  {'seconds':>7}  outcome"
    for row in began:
        outcome = line(row).removeprefix(row["item"] + ": ")
        yield f"{row['part']:<4}  {row['item']:<{width}}  {row['cost_s']:>7.1f}  {outcome}"
    if skipped:
        counted = [f"{count} of part {part}" for part, count in sorted(skipped.items())]
        yield f"skipped, as time was up: {', '.join(counted)}"
    counts = Counter(map(outcome_of, ends))
    yield ", ".join(f"{count} {name}" for name, count in counts.items())


def outcome_of(row: Row) -> str:
    """What became of an item, in a word."""
    mark = next((mark for mark in MARKS if mark in row), "measured")
    return "failed" if mark == "failure" else mark
