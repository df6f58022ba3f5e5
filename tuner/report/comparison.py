"""Two trials beside each other, as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType

from storage import StoredTrial
from tuner.history.compare import Difference, Pair, latency_interval
from tuner.records.figures import figures
from tuner.report.format import UNKNOWN, decibel, moment, raced_times, seconds, size, times
from tuner.report.listing import Listing, Paragraph, Row, apart, titled
from tuner.report.trials import purpose_text, trial_json, trial_state


def pair_json(pair: Pair) -> dict[str, Any]:
    """The stable form of a comparison."""
    interval = pair.speedup
    return {
        "first": _trial_json(pair.first),
        "second": _trial_json(pair.second),
        "comparable": pair.is_comparable,
        "verdict": pair.verdict,
        "speedup": interval.ratio if interval else None,
        "speedup_low": interval.low if interval and pair.rounds else None,
        "speedup_high": interval.high if interval and pair.rounds else None,
        "rounds": pair.rounds,
        **{
            f"{name}_differences": [
                {"name": each, "first": first, "second": second} for each, first, second in found
            ]
            for name, found in _differences(pair)
        },
    }


def pair_text(pair: Pair) -> Group:
    """What differs, the figures, and whether they can be compared."""
    heads = tuple(f"trial {stored.trial.number}" for stored in (pair.first, pair.second))
    parts: list[RenderableType] = []
    for name, found in _differences(pair):
        if found:
            title = "Config" if name == "config" else f"The {name} is not the same"
            parts.append(titled(title, _table(found, heads)))
    if not pair.config:
        parts.insert(0, Paragraph("The configs are the same."))
    parts.append(titled("Figures", _figures(pair, heads)))
    for stored in (pair.first, pair.second):
        if disturbed := stored.trial.outcome.disturbed:
            parts.append(Paragraph(f"Trial {stored.trial.number} was disturbed: {disturbed}."))
    parts.append(Paragraph(f"{pair.verdict[0].upper()}{pair.verdict[1:]}."))
    return apart(parts)


def _differences(pair: Pair) -> tuple[tuple[str, Sequence[Difference]], ...]:
    return (
        ("config", pair.config),
        ("machine", pair.machine),
        ("versions", pair.versions),
        ("workload", pair.workload),
    )


def _table(found: Sequence[Difference], heads: tuple[str, ...]) -> Listing:
    rows = tuple(Row((name, _text(first), _text(second))) for name, first, second in found)
    return Listing(rows, ("", *heads))


def _text(value: Any) -> str:
    if value is None:
        return UNKNOWN
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _figures(pair: Pair, heads: tuple[str, ...]) -> Listing:
    sides = pair.first, pair.second
    known = [figures(stored.trial) for stored in sides]
    rows = [
        ("state", [trial_state(stored.trial) for stored in sides]),
        ("purpose", [purpose_text(stored.trial) for stored in sides]),
        ("began", [moment(stored.trial.started_at) for stored in sides]),
        ("latency", [_latency(stored) for stored in sides]),
        ("start-up", [_start_up(stored) for stored in sides]),
        ("memory", [size(each["peak_bytes"]) for each in known]),
        ("of the host", [size(each["host_peak_bytes"]) for each in known]),
        ("PSNR", [decibel(each["psnr_db"]) for each in known]),
        ("quality", [each["tier"] or UNKNOWN for each in known]),
    ]
    if pair.speedup is not None and pair.is_comparable:
        ratio = pair.speedup
        told = (
            raced_times(ratio.ratio, ratio.low, ratio.high) if pair.rounds else times(ratio.ratio)
        )
        rows.append(("speed-up", ["", told]))
    shown = [Row((name, *cells)) for name, cells in rows if set(cells) != {UNKNOWN}]
    return Listing(tuple(shown), ("", *heads))


def _latency(stored: StoredTrial) -> str:
    interval = latency_interval(stored.trial)
    if interval is None:
        return UNKNOWN
    if interval.low == interval.high:
        return seconds(interval.ratio)
    return f"{seconds(interval.ratio)} ({seconds(interval.low)} to {seconds(interval.high)})"


def _start_up(stored: StoredTrial) -> str:
    measurement = stored.trial.measurement
    return UNKNOWN if measurement is None else seconds(measurement.start_up_s)


def _trial_json(stored: StoredTrial) -> dict[str, Any]:
    interval = latency_interval(stored.trial)
    is_known = interval is not None and interval.low < interval.high
    return {
        **trial_json(stored.trial),
        "model": stored.workload.model,
        "device": stored.machine.device_name,
        "started_at": stored.trial.started_at,
        "latency_low_s": interval.low if interval and is_known else None,
        "latency_high_s": interval.high if interval and is_known else None,
    }
