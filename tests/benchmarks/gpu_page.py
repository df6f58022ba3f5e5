"""The page of the docs that tells what was run on a GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from search_space.units import format_size

Line = dict[str, Any]
SHOWN = ("torch", "cuda", "diffusers", "transformers", "xformers", "torchao", "bitsandbytes")
COLUMNS = (
    "choice",
    "with",
    "call",
    "samples",
    "x baseline",
    "device peak",
    "host peak",
    "PSNR",
    "first call",
)


def page(found: Sequence[Sequence[Line]]) -> str:
    """The page, of the lines of each pipeline: what was run, then a row a choice."""
    parts = [TEXT, *(line for lines in found for line in section(lines[0], lines[1:]))]
    return "\n".join(parts) + "\n"


def section(head: Line, rows: Sequence[Line]) -> Iterator[str]:
    """The part of one pipeline."""
    versions = ", ".join(f"{name} {head['packages'].get(name, '-')}" for name in SHOWN)
    yield f"\n## {head['pipeline']}\n"
    yield (
        f"{head['device']}, {head['date']}, {head['side_px']} x {head['side_px']} px,"
        f" {head['steps']} steps; {versions}. {head.get('note', '')}\n"
    )
    if acted := [f"`{row['choice']}`" for row in rows if row.get("acted")]:
        yield f"Acted and kept the image: {', '.join(acted)}."
    yield from _table([row for row in rows if "steady_s" in row])
    failed = [f"- `{row['choice']}`: {row['failure']}" for row in rows if "failure" in row]
    yield from ("", "Failed: none." if not failed else "Failed:", *failed)
    reasons = Counter(row["unavailable"] for row in rows if "unavailable" in row)
    yield from ("", "Not available there:", "") if reasons else ()
    for reason in reasons:
        named = [f"`{row['choice']}`" for row in rows if row.get("unavailable") == reason]
        yield f"- {', '.join(named)}: {reason}."


def _table(rows: Sequence[Line]) -> Iterator[str]:
    if not rows:
        return
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"| {' | '.join('---' for _ in COLUMNS)} |"
    baseline_s = median([median(row["steady_s"]) for row in rows if row["choice"] == "baseline"])
    yield from (_row(row, baseline_s) for row in rows)


def _row(row: Line, baseline_s: float) -> str:
    steady_s = row["steady_s"]
    knob = row["choice"].partition("=")[0]
    others = [f"{name}={value}" for name, value in row["config"].items() if name != knob]
    psnr = "-" if row["psnr_db"] is None else f"{row['psnr_db']:.0f} dB"
    marks = " (disturbed)" * bool(row["disturbed"]) + " (unstable)" * bool(row["unstable"])
    cells = (
        f"`{row['choice']}`" + marks,
        ", ".join(others) or "-",
        f"{1000 * median(steady_s):.1f} ms",
        f"{1000 * min(steady_s):.1f} to {1000 * max(steady_s):.1f} ms",
        f"{baseline_s / median(steady_s):.2f}",
        format_size(row["device_bytes"]),
        format_size(row["host_bytes"]),
        psnr,
        f"{row['first_call_s']:.1f} s",
    )
    return f"| {' | '.join(cells)} |"


TEXT = """# On a GPU

Each row or name below is a choice that was run on a GPU machine with a full-size reference
pipeline, in a trial of its own: together with bf16 where the rules allow that, else with what the
choice needs. Time was short, so not all choices were run, and nothing was raced. In the tables the
trials ran one after the other; the baseline, diffusers' default in fp32, was measured first and,
where time was left, last. The weights are random: the PSNR says nothing about trained ones. Tables
by `python -m tests.benchmarks.gpu_table`, the list of choices by `pytest -m gpu`."""
