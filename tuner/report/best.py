"""The best stored configs, as a table and as JSON."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType

from tuner.history.winners import Winner
from tuner.report.format import (
    about,
    flags_caption,
    marked_latency,
    quality,
    raced_times,
    size,
)
from tuner.report.listing import Listing, Paragraph, Row, apart, titled
from tuner.report.trials import trial_json


def best_json(winner: Winner) -> dict[str, Any]:
    """The stable form of a winner."""
    stored, race_figures = winner.stored, winner.figures
    return {
        "model": stored.workload.model,
        "device": stored.machine.device_name,
        "memory_bytes": winner.budget.memory_bytes,
        "host_memory_bytes": winner.budget.host_bytes,
        "quality": winner.budget.quality,
        "objective": winner.objective,
        "speedup": winner.speedup.ratio if winner.speedup else None,
        "speedup_low": winner.speedup.low if winner.speedup else None,
        "speedup_high": winner.speedup.high if winner.speedup else None,
        **trial_json(stored.trial),
        **{
            name: race_figures[name]
            for name in ("latency_s", "peak_bytes", "disturbed", "unstable")
        },
    }


def best_table(winners: list[Winner]) -> Group:
    """A table for each model, size and machine, with a row for each winner."""
    groups: dict[str, list[Winner]] = {}
    for winner in winners:
        heading = about(winner.stored.workload, winner.stored.machine)
        groups.setdefault(heading, []).append(winner)
    parts: list[RenderableType] = [
        titled(heading, _table(group)) for heading, group in groups.items()
    ]
    if any(winner.speedup for winner in winners):
        note = "Latency, speed-up and memory are those of the race, where there was one."
        parts.append(Paragraph(note))
    return apart(parts or [Paragraph("no winner")])


def _table(winners: list[Winner]) -> Listing:
    columns = (
        "trial",
        "objective",
        "budget",
        "on the host",
        "quality",
        "latency",
        "speed-up",
        "memory",
        "config",
    )
    figures = [winner.figures for winner in winners]
    rows = tuple(map(_row, winners, figures))
    return Listing(rows, columns, ("trial", "latency", "memory"), flags_caption(figures))


def _row(winner: Winner, figures: dict[str, Any]) -> Row:
    speedup = winner.speedup
    untold = "not told" if winner.spoiled else "not raced"
    cells = (
        str(winner.stored.trial.number),
        "" if winner.objective == "latency" else winner.objective,
        size(winner.budget.memory_bytes),
        size(winner.budget.host_bytes),
        quality(winner.budget),
        marked_latency(figures),
        raced_times(speedup.ratio, speedup.low, speedup.high) if speedup else untold,
        size(figures["peak_bytes"]),
    )
    return Row(cells, winner.stored.trial.config.describe())
