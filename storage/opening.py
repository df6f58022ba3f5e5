"""Opening a store: to write, which may create or migrate it, or to read, which changes nothing."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from search_space.errors import NoStoreError, StoreError
from storage.backup import copied
from storage.engine import make_engine, transaction
from storage.migrations import migrate, revisions, version
from storage.place import Place

SMALLEST_BYTES = 512
"""No SQLite database is smaller; its content is not read here, for closing a file that SQLite has
open would drop SQLite's locks: https://sqlite.org/howtocorrupt.html"""
MIGRATION_LOCK = 7_203_451
"""Any number, as long as every process asks PostgreSQL for the same one."""


@dataclass(frozen=True)
class Opened:
    """An engine on a store, and the copy that was made of it if it had to be migrated."""

    engine: Engine
    backup: Path | None = None


def open_to_write(place: Place) -> Opened:
    """A store of this version, made or migrated if need be; raises StoreError."""
    engine = make_engine(place)
    if place.file is not None:
        _make_room(place, place.file)
    # One transaction, also when nothing is missing: what cannot be written is found out now
    # and not after the first trial.
    with ExitStack() as undo, transaction(engine, writing=True) as connection:
        if not place.is_sqlite:
            # Of two processes that create the tables at once, the second waits and finds them.
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        last, backup = version(connection, place), None
        if last != revisions()[-1]:
            backup = undo.enter_context(copied(place.file, last)) if place.file and last else None
            migrate(connection, place, last)
    if place.file is not None:
        _write_ahead(engine)
    return Opened(engine, backup)


def open_to_read(place: Place) -> Opened:
    """An existing store, which is not written to; raises StoreError."""
    if place.file is not None and not _exists(place, place.file):
        raise NoStoreError(f"no store at {place}: run 'tune run' first")
    if place.file is not None:
        _inspect(place, place.file)
    try:
        last = _look(place)
    except OperationalError as error:
        place = _without_locks(place, error)
        last = _look(place)
    if last is None:
        raise NoStoreError(f"no store at {place}: run 'tune run' first")
    if last != revisions()[-1]:
        raise StoreError(f"{place} is of an older version: 'tune run' brings it up to date")
    return Opened(make_engine(place))


def _make_room(place: Place, file: Path) -> None:
    if _exists(place, file):
        _inspect(place, file)
    else:
        file.parent.mkdir(parents=True, exist_ok=True)


def _exists(place: Place, file: Path) -> bool:
    if file.exists() and not file.is_file():
        raise StoreError(f"{place} is not a file: give a file, such as {file / 'history.db'}")
    return file.exists()


def _inspect(place: Place, file: Path) -> None:
    # SQLite takes a file of one byte for an empty one, and writes over it.
    if 0 < file.stat().st_size < SMALLEST_BYTES:
        raise StoreError(f"{place} is not an SQLite file: give another file")
    try:
        # Reading alone leaves a database of somebody else's as it is, to the byte; opened in full,
        # SQLite would finish what a killed process left in its log.
        _look(place.read_only)
    except OperationalError as error:
        # What is left to roll back, or a folder without files for locks: the full opening, which
        # follows, can do the one and explains the other.
        if not any(part in str(error.orig) for part in ("readonly database", "unable to open")):
            raise


def _look(place: Place) -> str | None:
    with transaction(make_engine(place)) as connection:
        return version(connection, place)


def _without_locks(place: Place, error: OperationalError) -> Place:
    # In a folder that cannot be written, SQLite cannot make its files for locks. It can do without
    # them only if no writer left anything beside the file, which would be passed over.
    logs = [Path(f"{place.file}{ending}") for ending in ("-wal", "-journal")]
    if place.file is None or any(path.exists() and path.stat().st_size for path in logs):
        raise error
    return place.immutable


def _write_ahead(engine: Engine) -> None:
    # Readers and the writer then do not wait for each other. The file remembers it, so whoever is
    # refused because the file is in use leaves it to the next; it works either way.
    with closing(engine.raw_connection()) as connection, suppress(sqlite3.OperationalError):
        connection.cursor().execute("PRAGMA journal_mode = WAL")
