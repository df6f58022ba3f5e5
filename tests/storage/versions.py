"""Stores of other versions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from storage.migrations import FOLDERS, revisions

VERSION_1 = Path(__file__).with_name("version_1.sql")
VERSION_5 = Path(__file__).with_name("version_5.sql")

COLOUR = "ALTER TABLE trial ADD COLUMN colour TEXT"
REVISION = """
revision = "m999_later"
down_revision = {before!r}

def upgrade(connection):
    for statement in {statements!r}:
        connection.exec_driver_sql(statement)
"""


@contextmanager
def one_more(folder: Path, *statements: str) -> Iterator[None]:
    """A version with one more revision, which makes these statements."""
    later = folder / "later"
    later.mkdir(exist_ok=True)
    text = REVISION.format(before=revisions()[-1], statements=statements)
    (later / "m999_later.py").write_text(text)
    FOLDERS.append(later)
    try:
        yield
    finally:
        FOLDERS.remove(later)


def store_of(version: Path, folder: Path) -> Path:
    """A store as a version left it."""
    folder.mkdir(exist_ok=True)
    path = folder / version.with_suffix(".db").name
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(version.read_text())
    return path


def dump(path: Path) -> list[str]:
    """All that is in the file, as SQL."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def backups(path: Path) -> list[Path]:
    """The copies that were made of the store."""
    return sorted(path.parent.glob(f"{path.name}.backup-*"))
