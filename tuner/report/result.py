"""The result of a run as a table, as remarks and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from search_space.config import BASELINE, Config, completed
from search_space.trial import Trial
from search_space.units import format_duration
from tuner.race.finalists import DRIFTED
from tuner.records.figures import figures
from tuner.records.tuned import TunedConfig
from tuner.report.format import (
    UNKNOWN,
    decibel,
    latency,
    raced_times,
    similarity,
    size,
    spent_text,
    times,
)
from tuner.report.listing import Listing, Row
from tuner.result import Result


def result_json(result: Result) -> dict[str, Any]:
    """The stable form of a run's result."""
    tuned = result.tuned
    baseline = {"config": completed(BASELINE), **tuned.baseline} if tuned.baseline else None
    return {
        "baseline": baseline,
        "best": {"config": completed(tuned.config), **tuned.tuned},
        "objective": tuned.objective,
        "speedup": tuned.speedup,
        "speedup_low": tuned.speedup_low,
        "speedup_high": tuned.speedup_high,
        "break_even_images": tuned.break_even_images,
        "changes": list(tuned.changes),
        "drift": tuned.drift,
        "no_speedup": tuned.spoiled,
        "tuning_s": dict(tuned.tuning_s),
        "paid_back_images": tuned.paid_back_images,
        "trials": len(result.trials),
        "ended_by": result.ending,
        "reason": result.reason,
        "output": str(result.folder),
    }


def unfinished_json(trials: Sequence[Trial]) -> dict[str, Any]:
    """The same keys of a run that has no config to write; what is not known is None."""
    baseline = next((trial for trial in trials if trial.config.is_baseline), None)
    baseline_figures = {"config": completed(BASELINE), **figures(baseline)} if baseline else None
    nothing: dict[str, Any] = dict.fromkeys(KEYS)
    return {**nothing, "baseline": baseline_figures, "changes": [], "trials": len(trials)}


KEYS = (
    "baseline",
    "best",
    "objective",
    "speedup",
    "speedup_low",
    "speedup_high",
    "break_even_images",
    "changes",
    "drift",
    "no_speedup",
    "tuning_s",
    "paid_back_images",
    "trials",
    "ended_by",
    "reason",
    "output",
)


def limit_text(tuned: TunedConfig) -> str | None:
    """How far from the machine's limit the best config and the default are."""
    share, peak = tuned.tuned.get("utilization"), tuned.tuned.get("peak")
    if share is None:
        return None
    if not tuned.config:
        return f"The default reaches {100 * share:.0f} % of this machine's {peak}."
    default = (tuned.baseline or {}).get("utilization")
    comparison = "" if default is None else f", the default {100 * default:.0f} %"
    return f"The best config reaches {100 * share:.0f} % of this machine's {peak}{comparison}."


def tuning_text(tuned: TunedConfig) -> str | None:
    """What the trials cost, by what it went into, and after how many images it is paid back."""
    total_s = sum(tuned.tuning_s.values())
    if not total_s:
        return None
    sentence = f"Tuning took {format_duration(total_s)} of trials: {spent_text(tuned.tuning_s)}."
    if tuned.paid_back_images is None:
        return sentence
    return f"{sentence} It is paid back after {tuned.paid_back_images:,} images."


def throughput_text(tuned: TunedConfig) -> str:
    """How many images a second the best config makes, and the default."""
    default_s = (tuned.baseline or {}).get("latency_s")
    comparison = f", the default {1 / default_s:.3g}" if tuned.config and default_s else ""
    return f"The best config makes {1 / tuned.tuned['latency_s']:.3g} images a second{comparison}."


def result_table(result: Result) -> Listing:
    """Baseline and best, side by side: one row a figure."""
    tuned = result.tuned
    speedup = raced_times(tuned.speedup, tuned.speedup_low, tuned.speedup_high)
    speedup = "not told" if tuned.spoiled else speedup
    pays = UNKNOWN if tuned.break_even_images is None else f"image {tuned.break_even_images}"
    columns = {"best": _column(tuned.config, tuned.tuned, speedup, pays)}
    if tuned.baseline is not None:
        own = UNKNOWN if tuned.baseline["latency_s"] is None else times(1.0)
        default = _column(BASELINE, tuned.baseline, own, UNKNOWN)
        columns = {"baseline": default, **({} if tuned.config.is_baseline else columns)}
    *columns_before, last_column = columns.values()
    rows = [
        Row((name, *(column[name] for column in columns_before)), value)
        for name, value in last_column.items()
        if any(column[name] != UNKNOWN for column in columns.values())
    ]
    return Listing(tuple(rows), ("", *columns))


def _column(
    config: Config, figures: Mapping[str, Any], speedup: str, break_even: str
) -> dict[str, str]:
    return {
        "config": config.describe(),
        "latency": latency(figures),
        "speed-up": speedup,
        "peak memory": size(figures["peak_bytes"]),
        "PSNR": decibel(figures["psnr_db"]),
        "SSIM": similarity(figures["ssim"]),
        "quality": figures["tier"] or UNKNOWN,
        "break-even": break_even,
    }


def changes_table(tuned: TunedConfig) -> Listing:
    """What each change of the winner brings: one row a change."""
    rows = []
    for change in tuned.changes:
        brings = raced_times(change["speedup"], change["low"], change["high"])
        note = change["note"] or ("kept" if change["kept"] else "brings nothing: dropped")
        flag = " (disturbed)" if change.get("disturbed") else ""
        cell = brings + flag if change["speedup"] is not None else UNKNOWN
        rows.append(Row((f"{change['knob']}={change['choice']}", cell), note))
    return Listing(tuple(rows), ("change", "brings", "note"))


def closing_remarks(tuned: TunedConfig) -> list[str]:
    """What a reader of the table must know besides."""
    remarks = [text for text in (limit_text(tuned), tuning_text(tuned)) if text]
    if tuned.spoiled is not None:
        remarks.insert(0, f"No speed-up is told: {tuned.spoiled}. Run again when they have ended.")
    if tuned.drift > DRIFTED:
        remarks.append(
            f"The baseline moved by {tuned.drift:.0%} between its measurements: finalists were "
            "ranked by the baseline nearest in time as well. The race interleaves them."
        )
    if tuned.objective == "throughput":
        remarks.append(throughput_text(tuned))
    if (
        tuned.config
        and tuned.speedup_low is not None
        and tuned.speedup_low <= 1
        and tuned.objective == "latency"
    ):
        remarks.append("It is not significantly faster than the default, which pins or budget bar.")
    return remarks
