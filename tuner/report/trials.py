"""Trials, as a table and as JSON."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType

from search_space.config import completed
from search_space.trial import Trial
from storage import StoredTrial
from tuner.records.figures import figures
from tuner.report.format import (
    UNKNOWN,
    about,
    day,
    decibel,
    flags_caption,
    frame_size,
    marked_latency,
    seconds,
    size,
)
from tuner.report.listing import Listing, Paragraph, Row, apart, titled


def trial_state(trial: Trial) -> str:
    """``measured``, ``infeasible`` (ran, but beyond the limits of its run) or ``failed``."""
    if trial.measurement is None:
        return "failed"
    return "infeasible" if trial.judged(trial.budget) else "measured"


def purpose_text(trial: Trial) -> str:
    """The purpose, with the round of a race: ``race 1``."""
    return trial.purpose if trial.round is None else f"{trial.purpose} {trial.round}"


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


def listed_json(stored: StoredTrial) -> dict[str, Any]:
    """The stable form of a trial in a list: with what it was measured for and on."""
    return {
        **trial_json(stored.trial),
        "model": stored.workload.model,
        "size": frame_size(stored.workload),
        "steps": stored.workload.steps,
        "device": stored.machine.device_name,
        "started_at": stored.trial.started_at,
    }


def trials_table(stored_trials: list[StoredTrial]) -> Group:
    """A table for each model, size and machine, the one with the newest trial last."""
    groups: dict[str, list[Trial]] = {}
    for stored in stored_trials:
        heading = about(stored.workload, stored.machine)
        groups.setdefault(heading, []).append(stored.trial)
    newest_last = sorted(groups.items(), key=lambda group: group[1][-1].number)
    tables: list[RenderableType] = []
    tables += (titled(heading, _table(trials)) for heading, trials in newest_last)
    return apart(tables or [Paragraph("no trials")])


def _table(trials: list[Trial]) -> Listing:
    columns = ("trial", "purpose", "latency", "memory", "PSNR", "quality", "took", "date", "config")
    figure_rows = [figures(trial) for trial in trials]
    rows = tuple(map(_row, trials, figure_rows))
    right = ("trial", "latency", "memory", "PSNR", "took")
    return Listing(rows, columns, right, flags_caption(figure_rows))


def _row(trial: Trial, trial_figures: dict[str, Any]) -> Row:
    failure = trial.judged(trial.budget)
    cells = (
        str(trial.number),
        purpose_text(trial),
        marked_latency(trial_figures),
        size(trial_figures["peak_bytes"]),
        decibel(trial_figures["psnr_db"]),
        trial_figures["tier"] or UNKNOWN,
        seconds(trial.cost_s),
        day(trial.started_at),
    )
    remarks = (f"{failure.kind.value}: {failure.message}",) if failure else ()
    return Row(cells, trial.config.describe(), remarks)
