"""Rows that exist once, whichever process inserts them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, Table, select, update

from storage.schema import trial, workload


class _Inserts(dict[str, Any]):
    def __missing__(self, dialect: str) -> Any:
        # When it is asked for: to import that of PostgreSQL takes as long as the rest of a store.
        self[dialect] = import_module(f"sqlalchemy.dialects.{dialect}").insert
        return self[dialect]


INSERTS: Mapping[str, Any] = _Inserts()
"""By the name of the dialect: what makes an insert that a conflict can turn into nothing."""


def identify(connection: Connection, table: Table, values: Mapping[str, Any]) -> int:
    """The id of the row with this fingerprint, which is inserted if there is none."""
    query = select(table.c.id).where(table.c.fingerprint == values["fingerprint"])
    number: int | None = connection.scalar(query)
    if number is None:
        # Another process may be first, where SQLite's lock does not keep it out.
        new = INSERTS[connection.dialect.name](table).values(values).on_conflict_do_nothing()
        connection.execute(new)
        number = connection.execute(query).scalar_one()
    return number


def insert_once(connection: Connection, row: Mapping[str, Any]) -> tuple[int, bool]:
    """The number of the trial with this row's token, and whether it is new."""
    new = INSERTS[connection.dialect.name](trial).values(row).on_conflict_do_nothing()
    counting = {"preserve_rowcount": True}
    is_new = connection.execute(new, execution_options=counting).rowcount == 1
    number = select(trial.c.number).where(trial.c.token == row["token"])
    return connection.execute(number).scalar_one(), is_new


def rename(connection: Connection, workload_id: int, model: str) -> None:
    """Give the workload's model its current name: the same files may have been moved."""
    outdated = (workload.c.id == workload_id) & (workload.c.model != model)
    connection.execute(update(workload).where(outdated).values(model=model))
