"""Read trials: whole, in number order, in a fixed number of queries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import isfinite
from reprlib import repr as short
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, select

from search_space.errors import StoreError
from storage.place import Place
from storage.rows import PARTS, Parts, StoredTrial, stored_trial
from storage.schema import config, machine, software, study, trial, workload

TRIALS = (
    trial.join(study, trial.c.study_id == study.c.id)
    .join(config, trial.c.config_id == config.c.id)
    .join(machine, study.c.machine_id == machine.c.id)
    .join(software, study.c.software_id == software.c.id)
    .join(workload, study.c.workload_id == workload.c.id)
)
COLUMNS = (
    trial.c.number,
    trial.c.purpose,
    trial.c.started_at,
    trial.c.cost_s,
    trial.c.race,
    trial.c.round,
    trial.c.images,
    trial.c.incumbent,
    study.c.id.label("study_id"),
    study.c.space,
    study.c.memory_bytes,
    study.c.host_memory_bytes,
    study.c.quality,
    study.c.objective,
    config.c.choices,
    machine.c.facts.label("machine_facts"),
    software.c.versions,
    workload.c.model,
    workload.c.facts.label("workload_facts"),
)

MAY_BE_ENDLESS = ("fidelity.value",)
"""A PSNR of identical images is, and earlier versions have stored it so."""

LONGEST = 160
"""Letters of what a value is said to be: some errors repeat the whole of it."""

Kind = tuple[str, type, bool, str]


def read_trials(
    connection: Connection, conditions: list[ColumnElement[bool]], place: Place
) -> list[StoredTrial]:
    """The trials for which every condition holds; raises StoreError if one cannot be read."""
    trial_rows = select(*COLUMNS).select_from(TRIALS).where(*conditions).order_by(trial.c.number)
    numbers = select(trial.c.number).select_from(TRIALS).where(*conditions)
    rows = connection.execute(trial_rows).mappings().all()
    parts = Parts()
    for table in PARTS:
        part_rows = select(table).where(table.c.trial_number.in_(numbers))
        for row in connection.execute(part_rows.order_by(*table.primary_key)).mappings():
            with readable(f"trial {row['trial_number']}", place):
                check(KINDS[table], row)
            parts.add(table, row)
    return [_stored_trial(row, parts, place) for row in rows]


def _stored_trial(row: RowMapping, parts: Parts, place: Place) -> StoredTrial:
    with readable(f"trial {row['number']}", place):
        check(TRIAL_KINDS, row)
        return stored_trial(row, parts)


@contextmanager
def readable(subject: str, place: Place) -> Iterator[None]:
    """Raises StoreError for a row that this version has no words for, or that is damaged."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        if isinstance(error, ValueError):
            reason = " ".join(str(error).split())
        reason = reason if len(reason) <= LONGEST else f"{reason[:LONGEST]}…"
        raise StoreError(
            f"{subject} in {place} cannot be read ({reason}): if a newer version has written "
            "it, run 'pip install --upgrade diffusers-autotune'; if it is damaged, put back a copy"
        ) from error


def check(kinds: Iterable[Kind], row: RowMapping) -> None:
    """Raise ValueError where a value is none of its column: SQLite takes anything anywhere."""
    for key, kind, is_nullable, name in kinds:
        value = row[key]
        if value is None and is_nullable:
            continue
        is_endless = isinstance(value, float) and not isfinite(value) and name not in MAY_BE_ENDLESS
        if not isinstance(value, kind) or is_endless:
            raise ValueError(f"{name} is {short(value)}")


def kinds_of(columns: Iterable[Any]) -> tuple[Kind, ...]:
    """The key in a row of each column, the type of its values, whether None is one, its name."""
    sources = [(column.name, getattr(column, "element", column)) for column in columns]
    return tuple(
        (key, source.type.python_type, source.nullable, f"{source.table.name}.{source.name}")
        for key, source in sources
    )


KINDS = {table: kinds_of(table.c) for table in PARTS}
TRIAL_KINDS = kinds_of(COLUMNS)
