"""The best stored configs, as a table and as JSON."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from tuner.history.winners import Winner
from tuner.report.format import latency, limits, quality, raced_times, size
from tuner.report.trials import trial_json


def best_json(winner: Winner) -> dict[str, Any]:
    """The stable form of a winner."""
    stored, raced = winner.stored, winner.figures
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
        **{name: raced[name] for name in ("latency_s", "peak_bytes", "disturbed", "unstable")},
    }


def best_table(found: list[Winner]) -> Table:
    """One row a winner."""
    from rich.table import Table

    columns = ("budget", "quality", "trial", "config", "latency", "speed-up", "peak memory")
    raced = any(winner.speedup for winner in found)
    note = "latency, speed-up and peak memory are those of the race, where there was one"
    table = Table("model", *columns, caption=note if raced else None)
    for winner in found:
        known, speedup = winner.figures, winner.speedup
        table.add_row(
            winner.stored.workload.model,
            limits(winner.budget),
            quality(winner.budget),
            str(winner.stored.trial.number),
            winner.stored.trial.config.describe(),
            latency(known),
            raced_times(speedup.ratio, speedup.low, speedup.high) if speedup else "not raced",
            size(known["peak_bytes"]),
        )
    return table
