"""Connections: their options, and how a transaction begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool, StaticPool

from search_space.errors import StoreError
from storage.place import Place

LOCK_TIMEOUT_S = 30.0
"""How long a writer waits for another. A trial takes milliseconds to write, a migration or a slow
disk seconds; giving up sooner may lose minutes of measuring."""

CONNECT_TIMEOUT_S = 10
"""How long a server may take to answer; without it a cut line holds a run up for minutes."""

DRIVERS = ("sqlite", "sqlite+pysqlite", "postgresql+psycopg")


def make_engine(place: Place) -> Engine:
    """An engine that has not connected yet; raises StoreError without a driver for the URL."""
    if place.url.drivername not in DRIVERS:
        raise StoreError(f"{place} is of no supported kind: give sqlite:/// or postgresql://")
    if place.unknown_options:
        names = ", ".join(sorted(place.unknown_options))
        raise StoreError(f"{place} takes no option {names}: leave it out of the URL")
    try:
        engine = create_engine(place.url, **_options(place))
    except ImportError as error:
        raise StoreError(
            f"{place} needs a driver: run 'pip install psycopg psycopg-binary'"
        ) from error
    except (ArgumentError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise StoreError(f"{place} is not a valid URL: {reason}") from error
    if place.is_sqlite:
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
    return engine


@contextmanager
def transaction(engine: Engine, writing: bool = False) -> Iterator[Connection]:
    """A connection on which everything happens or nothing does."""
    # A writer takes its lock at once: SQLite would refuse it halfway without waiting.
    begin = "BEGIN IMMEDIATE" if writing else "BEGIN"
    ready = engine.execution_options(autotune_begin=begin)
    with ready.connect() as connection, connection.begin():
        yield connection


def _options(place: Place) -> dict[str, Any]:
    # A connection for each transaction: a trial takes minutes, in which a server may hang up, and
    # an SQLite file that nobody has open is one file again, which can be copied.
    if not place.is_sqlite:
        own = {"connect_timeout": CONNECT_TIMEOUT_S} | dict(place.url.query)
        timeout = {"connect_timeout": own["connect_timeout"]}
        return {"poolclass": NullPool, "connect_args": timeout}
    if place.file is None:
        return {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    patience = {} if "timeout" in place.url.query else {"timeout": LOCK_TIMEOUT_S}
    return {"poolclass": NullPool, "connect_args": patience}


def _prepare(connection: Any, _record: Any) -> None:
    # Without this, Python's driver commits before CREATE TABLE, and a migration could stop halfway:
    # https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#pysqlite-serializable
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options()["autotune_begin"])
