"""Studies, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

from tuner.records.trial_record import frame_size
from tuner.report.format import UNKNOWN, counted, day, seconds, size
from tuner.report.listing import Listing, Paragraph, Row, apart, titled

KEYS = (
    *("study", "model", "size", "steps", "device", "objective", "memory_bytes"),
    *("host_memory_bytes", "quality", "trials", "failed", "races", "fastest_s", "cost_s"),
    *("created_at", "last_at", "machine", "software", "workload"),
)


def study_json(study: Mapping[str, Any]) -> dict[str, Any]:
    """The stable form of a study."""
    values = {**study, "size": _size(study)}
    return {key: values[key] for key in KEYS}


def studies_table(studies: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A table for each machine and its versions, with a row for each study."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for study in studies:
        groups.setdefault((study["device"], study["machine"], study["software"]), []).append(study)
    tables: list[RenderableType] = [
        titled(f"on {device} (machine {machine}, versions {software})", _table(group))
        for (device, machine, software), group in groups.items()
    ]
    return apart(tables) if tables else Group(Paragraph("no studies"))


def _table(studies: Sequence[Mapping[str, Any]]) -> Listing:
    columns = (
        *("study", "size", "objective", "budget", "trials", "failed", "fastest", "took", "last"),
        "model",
    )
    right = ("study", "budget", "trials", "failed", "fastest", "took")
    return Listing(tuple(map(_row, studies)), columns, right)


def _row(study: Mapping[str, Any]) -> Row:
    steps = "" if study["steps"] is None else f", {counted(study['steps'], 'step')}"
    quality = f", {study['quality']}" if study["quality"] else ""
    cells = (
        str(study["study"]),
        _size(study) or UNKNOWN,
        study["objective"],
        size(study["memory_bytes"]),
        str(study["trials"]),
        str(study["failed"] or UNKNOWN),
        seconds(study["fastest_s"]),
        seconds(study["cost_s"]),
        day(study["last_at"]),
    )
    return Row(cells, f"{study['model']}{steps}{quality}")


def _size(study: Mapping[str, Any]) -> str | None:
    return frame_size(study["width"], study["height"], study["frames"], study["batch_size"])
