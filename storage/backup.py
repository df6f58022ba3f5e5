"""A copy of the file, before an older store is migrated."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from search_space.errors import StoreError


@contextmanager
def copied(file: Path, version: str) -> Iterator[Path]:
    """A copy of the SQLite file beside it, which is gone again if what follows fails.

    It is made by SQLite, with what stands in the write-ahead log, and bears the ``version``.
    """
    made_at = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    copy = file.with_name(f"{file.name}.backup-{version}-{made_at}")
    # Under its name once it is whole: whoever is killed meanwhile leaves no half of a backup.
    part = copy.with_name(f"{copy.name}.part")
    try:
        _copy(file, part)
        part.rename(copy)
    except (OSError, sqlite3.Error) as error:
        part.unlink(missing_ok=True)
        raise StoreError(
            f"{file} is of an older version and could not be copied before it is changed "
            f"({error}): free some space in its folder"
        ) from error
    try:
        yield copy
    except BaseException:
        copy.unlink()
        raise


def _copy(file: Path, target: Path) -> None:
    target.touch()
    # It holds what the file holds: nobody else may read it either.
    shutil.copymode(file, target)
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
