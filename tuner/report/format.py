"""Figures as words: one form for each kind of value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from search_space.budget import Budget
from search_space.units import format_duration, format_size
from tuner.records.figures import IDENTICAL_DB

if TYPE_CHECKING:
    pass

UNKNOWN = "-"


def seconds(value_s: float | None) -> str:
    """A duration for a table."""
    return UNKNOWN if value_s is None else format_duration(value_s)


def latency(known: Mapping[str, Any]) -> str:
    """The latency among the figures of a trial, with what spoils it."""
    flags = [name for name in ("disturbed", "unstable") if known.get(name)]
    return seconds(known["latency_s"]) + (f" ({', '.join(flags)})" if flags else "")


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
