"""Trials, as a table and as JSON."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from search_space.config import completed
from search_space.trial import Trial
from tuner.records.figures import figures
from tuner.report.format import (
    UNKNOWN,
    decibel,
    latency,
    seconds,
    similarity,
    size,
)


def trial_state(trial: Trial) -> str:
    """``measured``, ``infeasible`` (ran, but beyond the limits of its run) or ``failed``."""
    if trial.measurement is None:
        return "failed"
    return "infeasible" if trial.judged(trial.budget) else "measured"


def trial_json(trial: Trial) -> dict[str, Any]:
    """The stable form of a trial; what is not known is None."""
    failure = trial.judged(trial.budget)
    known = figures(trial)
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
        "latency_s": known["latency_s"],
        "peak_bytes": known["peak_bytes"],
        "host_peak_bytes": known["host_peak_bytes"],
        "psnr_db": known["psnr_db"],
        "ssim": known["ssim"],
        "lpips": known["lpips"],
        "tier": known["tier"],
        "disturbed": known["disturbed"],
        "unstable": known["unstable"],
        "failure": facts,
        "cost_s": trial.cost_s,
    }


def trials_table(trials: list[Trial]) -> Table:
    """One row a trial."""
    from rich.markup import escape
    from rich.table import Table

    columns = (
        "purpose",
        "config",
        "latency",
        "peak memory",
        "PSNR",
        "SSIM",
        "quality",
        "cost",
        "outcome",
    )
    table = Table("trial", *columns)
    for trial in trials:
        known = figures(trial)
        failure = trial.judged(trial.budget)
        table.add_row(
            str(trial.number),
            trial.purpose,
            trial.config.describe(),
            latency(known),
            size(known["peak_bytes"]),
            decibel(known["psnr_db"]),
            similarity(known["ssim"]),
            known["tier"] or UNKNOWN,
            seconds(trial.cost_s),
            escape(f"{failure.kind.value}: {failure.message}") if failure else "measured",
        )
    return table
