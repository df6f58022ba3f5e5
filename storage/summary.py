"""The view that has a row for each trial: its columns, and how it is searched."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Integer,
    Text,
    column,
    distinct,
    func,
    select,
    table,
)
from sqlalchemy.types import TypeEngine

from storage.schema import study

Row = Mapping[str, Any]

NUMBER: TypeEngine[Any] = Integer()
FIGURE: TypeEngine[Any] = Double()
WORDS: TypeEngine[Any] = Text()
COLUMNS: Mapping[str, tuple[TypeEngine[Any], str]] = {
    "number": (NUMBER, "Number of the trial."),
    "study": (NUMBER, "The study that asked for it."),
    "model": (WORDS, "The model under the name by which it was last tuned."),
    "height": (NUMBER, "Pixels; NULL for the pipeline's own."),
    "width": (NUMBER, "Pixels; NULL for the pipeline's own."),
    "steps": (NUMBER, "Denoising steps; NULL for the pipeline's own."),
    "device": (WORDS, "The device as its maker calls it."),
    "config": (WORDS, "Knob to choice, for every knob that is changed: JSON."),
    "state": (WORDS, "measured, infeasible within the limits of its study, or failed."),
    "latency_s": (FIGURE, "Seconds a call; with the objective throughput an image."),
    "speedup": (FIGURE, "Latency of the baseline over its own: of two trials, no interval."),
    "peak_bytes": (NUMBER, "Peak memory of the device, or of the host without one."),
    "psnr_db": (FIGURE, "To the image of the baseline; 200 where identical."),
    "tier": (WORDS, "The measured quality; other beyond lossy."),
    "purpose": (WORDS, "Why it ran: baseline, search, drift, race or ablation."),
    "failure": (WORDS, "How it failed or why it is infeasible, in a word."),
    "cost_s": (FIGURE, "Seconds that the whole trial took."),
    "started_at": (WORDS, "When it started: UTC, ISO 8601."),
    "phase": (WORDS, "The phase in which it failed."),
    "message": (WORDS, "Why it failed or is infeasible, in one sentence."),
    "disturbed": (WORDS, "What disturbed the samples that count."),
    "unstable": (WORDS, "How it still changed while it was timed."),
    "host_peak_bytes": (NUMBER, "Peak memory of the host."),
    "ssim": (FIGURE, "To the image of the baseline; 1 where identical."),
    "lpips": (FIGURE, "To the image of the baseline; 0 where identical."),
    "start_up_s": (FIGURE, "Seconds of loading, set-up and the first call."),
    "frames": (NUMBER, "Frames of a video."),
    "batch_size": (NUMBER, "Images a call."),
    "race": (WORDS, "The race that it is part of."),
    "round": (NUMBER, "Its round in the race."),
    "baseline": (NUMBER, "The trial of the default that the speed-up is over."),
    "memory_bytes": (NUMBER, "The memory budget of its study."),
    "host_memory_bytes": (NUMBER, "The budget of the host of its study."),
    "quality": (WORDS, "The last tier that its study allows."),
    "objective": (WORDS, "What its study minimizes."),
    "device_kind": (WORDS, "Where the pipeline runs, such as cpu or cuda."),
    "machine": (NUMBER, "Number of the machine."),
    "software": (NUMBER, "Number of the installed versions."),
    "workload": (NUMBER, "Number of the workload: model, size, steps, prompts and the rest."),
}
"""The columns of both views, in their order."""

SUMMARY = table("trial_summary", *(column(name, type_) for name, (type_, _) in COLUMNS.items()))

OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": lambda field, value: field.is_(None) if value is None else field == value,
    "!=": lambda field, value: (
        field.is_not(None) if value is None else field.is_distinct_from(value)
    ),
    ">=": operator.ge,
    ">": operator.gt,
    "has": lambda field, value: func.lower(field).contains(str(value).lower(), autoescape=True),
    "lacks": lambda field, value: ~func.lower(field).contains(str(value).lower(), autoescape=True),
}
"""Each gets a column and a bound parameter; ``has`` and ``lacks`` look for a part of a text."""


@dataclass(frozen=True)
class Filter:
    """A field of the view, an operator and a value, which reaches the database as a parameter."""

    field: str
    operator: str
    value: str | int | float | None

    @property
    def condition(self) -> ColumnElement[bool]:
        field = SUMMARY.c[self.field]
        condition: ColumnElement[bool] = OPERATORS[self.operator](field, self.value)
        return condition


@dataclass(frozen=True)
class Order:
    """By which field trials are sorted; what is not known comes last either way."""

    field: str
    descending: bool = False


def summaries(
    connection: Connection,
    filters: Sequence[Filter] = (),
    order: Sequence[Order] = (),
    limit: int | None = None,
) -> list[Row]:
    """The trials for which all filters hold, sorted; otherwise by number, the newest if limited."""
    query = select(SUMMARY).where(*(each.condition for each in filters))
    number = SUMMARY.c.number
    for each in order:
        field = SUMMARY.c[each.field]
        query = query.order_by(field.is_(None), field.desc() if each.descending else field)
    if order or limit is None:
        return _rows(connection, query.order_by(number).limit(limit))
    return _rows(connection, query.order_by(number.desc()).limit(limit))[::-1]


STUDY_FACTS = (
    *("study", "model", "height", "width", "frames", "batch_size", "steps", "device"),
    *("objective", "memory_bytes", "host_memory_bytes", "quality"),
    *("device_kind", "machine", "software", "workload"),
)
"""What is the same for all trials of a study."""


def studies(connection: Connection, filters: Sequence[Filter] = ()) -> list[Row]:
    """Each study with what its trials come to, in the order of the studies."""
    view, failed = SUMMARY.c, SUMMARY.c.state == "failed"
    facts = [view[name] for name in STUDY_FACTS]
    fastest = func.min(view.latency_s).filter(view.state == "measured")
    query = (
        select(
            *facts,
            study.c.created_at,
            func.count().label("trials"),
            func.count().filter(failed).label("failed"),
            func.count(distinct(view.race)).label("races"),
            fastest.label("fastest_s"),
            func.sum(view.cost_s).label("cost_s"),
            func.max(view.started_at).label("last_at"),
        )
        .join(study, study.c.id == view.study)
        .where(*(each.condition for each in filters))
        .group_by(*facts, study.c.created_at)
        .order_by(view.study)
    )
    return _rows(connection, query)


def _rows(connection: Connection, query: Any) -> list[Row]:
    return [dict(row) for row in connection.execute(query).mappings()]
