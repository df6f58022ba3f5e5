"""Trials, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType

from search_space.config import completed
from search_space.trial import Trial
from tuner.records.figures import figures
from tuner.records.trial_record import TrialRecord
from tuner.report.format import (
    UNKNOWN,
    counted,
    day,
    decibel,
    flags_caption,
    marked_latency,
    moment,
    seconds,
    size,
    times,
)
from tuner.report.listing import Listing, Paragraph, Row, apart, titled


def trial_state(trial: Trial) -> str:
    """``measured``, ``infeasible`` (ran, but beyond the limits of its run) or ``failed``."""
    if trial.measurement is None:
        return "failed"
    return "infeasible" if trial.judged(trial.budget) else "measured"


def purpose_text(trial: Trial | TrialRecord) -> str:
    """The purpose, with the round of a race: ``race 1``."""
    return str(trial.purpose) if trial.round is None else f"{trial.purpose} {trial.round}"


def trial_json(trial: Trial) -> dict[str, Any]:
    """The stable form of a trial; unknown values are None."""
    failure = trial.judged(trial.budget)
    trial_figures = figures(trial)
    facts = (
        {"kind": failure.kind.value, "phase": failure.phase or None, "message": failure.message}
        if failure
        else None
    )
    return {
        "number": trial.number,
        "purpose": trial.purpose,
        "state": trial_state(trial),
        "config": completed(trial.config),
        "latency_s": trial_figures["latency_s"],
        "peak_bytes": trial_figures["peak_bytes"],
        "host_peak_bytes": trial_figures["host_peak_bytes"],
        "psnr_db": trial_figures["psnr_db"],
        "ssim": trial_figures["ssim"],
        "lpips": trial_figures["lpips"],
        "tier": trial_figures["tier"],
        "disturbed": trial_figures["disturbed"],
        "unstable": trial_figures["unstable"],
        "failure": facts,
        "cost_s": trial.cost_s,
    }


LIKE_TRIAL = (
    *("latency_s", "peak_bytes", "host_peak_bytes", "psnr_db", "ssim", "lpips", "tier"),
    *("disturbed", "unstable"),
)


def record_json(record: TrialRecord) -> dict[str, Any]:
    """The stable form of a trial in a list: with what it was measured for and on."""
    failure = {"kind": record.failure, "phase": record.phase, "message": record.message}
    return {
        "number": record.number,
        "purpose": record.purpose,
        "state": record.state,
        "config": completed(record.config),
        **{name: getattr(record, name) for name in LIKE_TRIAL},
        "failure": failure if record.failure else None,
        "cost_s": record.cost_s,
        "model": record.model,
        "size": record.size,
        "steps": record.steps,
        "device": record.device,
        "started_at": record.started_at,
        "study": record.study,
        "speedup": record.speedup,
        "baseline": record.baseline,
    }


def columns_json(record: TrialRecord, columns: Sequence[str]) -> dict[str, Any]:
    """The fields that were asked for, the config with every knob."""
    values = record.values() | {"config": completed(record.config)}
    return {name: values[name] for name in columns}


def heading(record: TrialRecord) -> str:
    """Model, size and machine: what the latencies under one heading have in common."""
    steps = "own steps" if record.steps is None else counted(record.steps, "step")
    parts = [record.model, record.size or "own size", steps]
    if record.objective == "throughput":
        parts.append("seconds per image")
    return ", ".join([*parts, f"on {record.device} ({record.device_kind})"])


def trials_table(records: Sequence[TrialRecord], newest_last: bool = True) -> Group:
    """A table for each model, size and machine, the one with the newest trial last."""
    groups: dict[str, list[TrialRecord]] = {}
    for record in records:
        groups.setdefault(heading(record), []).append(record)
    ordered = list(groups.items())
    if newest_last:
        ordered.sort(key=lambda group: group[1][-1].number)
    tables: list[RenderableType] = [titled(name, _table(trials)) for name, trials in ordered]
    return apart(tables or [Paragraph("no trials")])


def columns_table(records: Sequence[TrialRecord], columns: Sequence[str]) -> RenderableType:
    """One table of the fields that were asked for."""
    if not records:
        return Paragraph("no trials")
    rows = [[cell(name, getattr(record, name)) for name in columns] for record in records]
    words = columns[-1] in ("config", "message", "model", "disturbed", "unstable")
    right = tuple(name for name in columns if name.endswith(("_s", "_bytes", "_db")))
    right += ("number", "study", "speedup")
    if not words:
        return Listing(tuple(Row(tuple(row)) for row in rows), tuple(columns), right)
    return Listing(tuple(Row(tuple(row[:-1]), row[-1]) for row in rows), tuple(columns), right)


def cell(name: str, value: Any) -> str:
    """A field of the view for a table."""
    if name == "config":
        return str(value.describe())
    if value is None:
        return UNKNOWN
    if name.endswith("_bytes"):
        return size(value)
    if name.endswith("_s"):
        return seconds(value)
    if name.endswith("_db"):
        return decibel(value)
    if name == "speedup":
        return times(value)
    if name == "started_at":
        return moment(value)
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _table(records: list[TrialRecord]) -> Listing:
    columns = ("trial", "purpose", "latency", "memory", "PSNR", "quality", "took", "date", "config")
    rows = tuple(map(_row, records))
    right = ("trial", "latency", "memory", "PSNR", "took")
    return Listing(rows, columns, right, flags_caption([record.values() for record in records]))


def _row(record: TrialRecord) -> Row:
    cells = (
        str(record.number),
        purpose_text(record),
        marked_latency(record.values()),
        size(record.peak_bytes),
        decibel(record.psnr_db),
        record.tier or UNKNOWN,
        seconds(record.cost_s),
        day(record.started_at),
    )
    remarks = (f"{record.failure}: {record.message}",) if record.failure else ()
    return Row(cells, record.config.describe(), remarks)
