"""Figures as words: one form for each kind of value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from textwrap import wrap
from typing import Any

from search_space.budget import Budget
from search_space.hardware.machine import Machine
from search_space.units import format_duration, format_size
from search_space.workload import Workload
from tuner.records.figures import IDENTICAL_DB
from tuner.records.trial_record import frame_size as size_text

UNKNOWN = "-"
FLAGGED = "*"
"""Stands behind a latency that is disturbed or unstable."""

PREFIXES = {1e12: "T", 1e9: "G", 1e6: "M", 1e3: "k"}


def seconds(value_s: float | None) -> str:
    """A duration for a table."""
    return UNKNOWN if value_s is None else format_duration(value_s)


def latency(figures: Mapping[str, Any]) -> str:
    """The latency among the figures of a trial, with what spoils it."""
    flags = [name for name in ("disturbed", "unstable") if figures.get(name)]
    return seconds(figures["latency_s"]) + (f" ({', '.join(flags)})" if flags else "")


def marked_latency(figures: Mapping[str, Any]) -> str:
    """The latency among the figures of a trial, with a mark where something spoils it."""
    return seconds(figures["latency_s"]) + (f" {FLAGGED}" if is_flagged(figures) else "")


def is_flagged(figures: Mapping[str, Any]) -> bool:
    """Whether there is a latency, and something that spoils it."""
    complaint = figures.get("disturbed") or figures.get("unstable")
    return figures["latency_s"] is not None and bool(complaint)


def flags_caption(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the mark means, where one of the figures bears it."""
    if not any(map(is_flagged, rows)):
        return ""
    return f"{FLAGGED} disturbed or unstable: 'tune show TRIAL' says by what"


def size(value_bytes: int | None) -> str:
    """A size for a table."""
    return UNKNOWN if value_bytes is None else format_size(value_bytes)


def limits(budget: Budget) -> str:
    """A budget for a table."""
    if budget.host_bytes is None:
        return size(budget.memory_bytes)
    device = f"{size(budget.memory_bytes)}, " if budget.memory_bytes else ""
    return f"{device}{size(budget.host_bytes)} on the host"


def quality(budget: Budget) -> str:
    """The last tier that a budget allows, for a table."""
    return budget.quality.value if budget.quality else UNKNOWN


def decibel(value_db: float | None) -> str:
    """A PSNR for a table."""
    if value_db is None:
        return UNKNOWN
    return "identical" if value_db >= IDENTICAL_DB else f"{value_db:.1f} dB"


def similarity(value: float | None) -> str:
    """An SSIM for a table."""
    return UNKNOWN if value is None else f"{value:.4f}"


def times(ratio: float | None) -> str:
    """A speed-up for a table."""
    return UNKNOWN if ratio is None else f"{ratio:.2f}x"


def raced_times(ratio: float | None, low: float | None, high: float | None) -> str:
    """A speed-up with its interval for a table, or that there was no race."""
    if ratio is None or low is None or high is None:
        return "not raced"
    return times(ratio) if low == high else f"{times(ratio)} ({low:.2f} to {high:.2f})"


def digits(value: float) -> str:
    """A number with three digits, in thousands where it is large."""
    for factor, prefix in PREFIXES.items():
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}"
    return f"{value:.3g}"


def counted(count: int, noun: str) -> str:
    """``1 step`` or ``4 steps``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def frame_size(workload: Workload) -> str | None:
    """Width and height in pixels, and how many frames and images; None where that is not known."""
    batch_size = workload.batch_size
    return size_text(workload.width_px, workload.height_px, workload.num_frames, batch_size)


def about(workload: Workload, machine: Machine) -> str:
    """Model, size and machine: what the latencies under one heading have in common."""
    steps = "own steps" if workload.steps is None else counted(workload.steps, "step")
    parts = [workload.model, frame_size(workload) or "own size", steps]
    if workload.throughput:
        parts.append("seconds per image")
    return ", ".join([*parts, f"on {machine.device_name} ({machine.device})"])


def day(started_at: str) -> str:
    """The date where the reader is, of a time that was kept in UTC."""
    return f"{datetime.fromisoformat(started_at).astimezone():%Y-%m-%d}"


def moment(started_at: str) -> str:
    """Date and time where the reader is, of a time that was kept in UTC."""
    return f"{datetime.fromisoformat(started_at).astimezone():%Y-%m-%d %H:%M}"


def wrapped(sentence: str, width: int) -> list[str]:
    """The lines of a sentence, broken between words alone."""
    return wrap(sentence, width, break_long_words=False, break_on_hyphens=False)


SPENT = {
    "load": "start and load",
    "build": "export and compiling",
    "calls": "calls",
    "wait": "waiting",
    "check": "checks",
    "other": "other",
}


def spent_text(spent_s: Mapping[str, float]) -> str:
    """The seconds of trials by what they went into: ``calls 40 s, checks 3 s``."""
    largest = sorted(spent_s.items(), key=lambda item: -item[1])
    # What takes less than a hundredth is not worth its words.
    told = [item for item in largest if item[1] >= 0.01 * sum(spent_s.values())]
    return ", ".join(f"{SPENT[name]} {format_duration(part_s)}" for name, part_s in told)
