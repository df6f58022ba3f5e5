"""Studies, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

from search_space.budget import Budget
from tuner.records.trial_record import frame_size
from tuner.report.format import UNKNOWN, counted, day, limits, seconds
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
    columns = ("study", "size", "trials", "failed", "fastest", "took", "last", "what for")
    right = ("study", "trials", "failed", "fastest", "took")
    return Listing(tuple(map(_row, studies)), columns, right)


def _row(study: Mapping[str, Any]) -> Row:
    cells = (
        str(study["study"]),
        _size(study) or UNKNOWN,
        str(study["trials"]),
        str(study["failed"] or UNKNOWN),
        seconds(study["fastest_s"]),
        seconds(study["cost_s"]),
        day(study["last_at"]),
    )
    budget = Budget(study["memory_bytes"], study["host_memory_bytes"])
    words = (
        study["model"],
        "" if study["steps"] is None else counted(study["steps"], "step"),
        f"within {limits(budget)}" if budget.limits_memory else "",
        study["quality"] or "",
        "" if study["objective"] == "latency" else study["objective"],
    )
    return Row(cells, ", ".join(filter(None, words)))


def _size(study: Mapping[str, Any]) -> str | None:
    return frame_size(study["width"], study["height"], study["frames"], study["batch_size"])
