"""Trials leave a store, or come from another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, delete, exists, func, insert, select

from search_space.identity import fingerprint
from storage.figures import relate_again
from storage.place import Place
from storage.rows import PARTS
from storage.schema import config, figures, machine, software, study, trial, workload
from storage.writing import identify, insert_once

OF_TRIAL = (*PARTS, figures)
"""Every table whose rows are of one trial."""

BATCH = 500
"""Trials deleted or copied by one statement: a database takes some thousand parameters."""


@dataclass(frozen=True)
class Merged:
    """What came of a merge."""

    added: int
    known: int
    """Trials that were here already."""
    studies: int
    """New ones."""


def delete_trials(connection: Connection, place: Place, numbers: Sequence[int]) -> int:
    """Delete trials with all that is of them, then what no trial refers to; returns how many."""
    deleted = 0
    for part in batches(numbers):
        for table in OF_TRIAL:
            connection.execute(delete(table).where(table.c.trial_number.in_(part)))
        deleted += connection.execute(delete(trial).where(trial.c.number.in_(part))).rowcount
    connection.execute(delete(study).where(~exists().where(trial.c.study_id == study.c.id)))
    connection.execute(delete(config).where(~exists().where(trial.c.config_id == config.c.id)))
    for table, key in (
        (machine, "machine_id"),
        (software, "software_id"),
        (workload, "workload_id"),
    ):
        unused = ~exists().where(study.c[key] == table.c.id)
        connection.execute(delete(table).where(unused))
    relate_again(connection, place)
    return deleted


def merge(source: Connection, target: Connection, place: Place) -> Merged:
    """Copy what the target lacks; a trial is known by its token, the rest by its fingerprint."""
    studies_before = target.scalar(select(func.count()).select_from(study)) or 0
    ids: dict[str, dict[int, int]] = {
        table.name: _identified(source, target, table, {})
        for table in (machine, software, workload, config)
    }
    references = {f"{name}_id": ids[name] for name in ("machine", "software", "workload")}
    ids["study"] = _identified(source, target, study, references)
    numbers, added = _trials(source, target, ids)
    for part in batches(added):
        for table in OF_TRIAL:
            rows = source.execute(select(table).where(table.c.trial_number.in_(part))).mappings()
            copied = [_renumbered(row, numbers) for row in rows]
            if copied:
                target.execute(insert(table), copied)
    relate_again(target, place)
    studies = target.scalar(select(func.count()).select_from(study)) or 0
    return Merged(len(added), len(numbers) - len(added), studies - studies_before)


def batches(numbers: Sequence[int]) -> list[Sequence[int]]:
    """The numbers, so many at a time as one statement takes."""
    return [numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH)]


def _identified(
    source: Connection, target: Connection, table: Table, ids: Mapping[str, Mapping[int, int]]
) -> dict[int, int]:
    """The target's id for each row of the source's table."""
    known: dict[int, int] = {}
    for row in source.execute(select(table).order_by(table.c.id)).mappings():
        values = dict(row)
        own = values.pop("id")
        values |= {name: to[values[name]] for name, to in ids.items()}
        known[own] = identify(target, table, values)
    return known


def _trials(
    source: Connection, target: Connection, ids: Mapping[str, Mapping[int, int]]
) -> tuple[dict[int, int], list[int]]:
    """The target's number for each trial of the source, and those that were added."""
    numbers: dict[int, int] = {}
    added: list[int] = []
    tokens = set(source.scalars(select(trial.c.token)))
    renamed: dict[tuple[int, str], str] = {}
    for row in source.execute(select(trial).order_by(trial.c.number)).mappings():
        values = dict(row)
        number = values.pop("number")
        values["study_id"] = ids["study"][values["study_id"]]
        values["config_id"] = ids["config"][values["config_id"]]
        values["incumbent"] = numbers.get(values["incumbent"])
        if values["race"] is not None:
            key = values["study_id"], values["race"]
            if key not in renamed:
                renamed[key] = _race(target, key, tokens, values["token"])
            values["race"] = renamed[key]
        numbers[number], is_new = insert_once(target, values)
        if is_new:
            added.append(number)
    return numbers, added


def _race(target: Connection, key: tuple[int, str], tokens: set[str | None], first: str) -> str:
    """The race's name, or another one where the same study has a race of that name of its own.

    Its name says who took part: two machines alike may have had the same race, whose rounds were
    not measured beside each other.
    """
    study_id, name = key
    query = select(trial.c.token).where(trial.c.study_id == study_id, trial.c.race == name)
    is_the_same = tokens.issuperset(target.scalars(query))
    return name if is_the_same else fingerprint([name, first])


def _renumbered(row: Mapping[Any, Any], numbers: Mapping[int, int]) -> dict[str, Any]:
    values = dict(row) | {"trial_number": numbers[row["trial_number"]]}
    if "baseline" in values:
        values["baseline"] = numbers.get(values["baseline"])
    return values
