"""How a store of any earlier version becomes one of this version.

A change of the schema is one file of ``storage/revisions``, which Alembic applies; the name of the
last one is the row of ``autotune_version``. Alembic's usual ``alembic_version`` is left to others
in the same database, such as Optuna.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, inspect, select, table
from sqlalchemy import column as column_of

from search_space.errors import StoreError
from storage.figures import fill
from storage.place import Place
from storage.schema import autotune_version

if TYPE_CHECKING:
    from alembic.runtime.migration import RevisionStep

FOLDERS = [Path(__file__).with_name("revisions")]

BEFORE_ALEMBIC = table("autotune_migration", column_of("name"))
"""The table of stores before Alembic; each row is the name of one of the first five revisions."""


def revisions() -> list[str]:
    """The names of all revisions, oldest first.

    They are those of the files: Alembic, which reads them, takes longer to import than a store
    takes to open, and a store that is up to date does not need it.
    """
    return sorted(path.stem for folder in FOLDERS for path in folder.glob("m*.py"))


def version(connection: Connection, place: Place) -> str | None:
    """The last revision of the store, None for a new one; raises StoreError if it is not ours."""
    tables = inspect(connection).get_table_names()
    if autotune_version.name in tables:
        applied = set(connection.scalars(select(autotune_version.c.version_num)))
    elif BEFORE_ALEMBIC.name in tables:
        applied = set(connection.scalars(select(BEFORE_ALEMBIC.c.name)))
    elif tables:
        raise StoreError(f"{place} holds tables that are not ours: give another {place.noun}")
    else:
        return None
    unknown = applied.difference(revisions())
    if unknown:
        raise StoreError(
            f"{place} was written by a newer version (it has {', '.join(sorted(unknown))}): "
            "run 'pip install --upgrade diffusers-autotune'"
        )
    return max(applied, default=None)


def migrate(connection: Connection, place: Place, last: str | None) -> None:
    """Apply what comes after the ``last`` revision, in the transaction of the caller.

    Raises StoreError where a revision cannot read what it has to change.
    """
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(FOLDERS[0], version_locations=FOLDERS)

    def later_revisions(heads: Any, _context: MigrationContext) -> Iterable[RevisionStep]:
        return scripts._upgrade_revs("head", heads)

    options = {"version_table": autotune_version.name, "fn": later_revisions}
    context = MigrationContext.configure(connection, opts=options)
    if last is not None and inspect(connection).has_table(BEFORE_ALEMBIC.name):
        context.stamp(scripts, last)
        connection.exec_driver_sql(f"DROP TABLE {BEFORE_ALEMBIC.name}")
    # Not Alembic's ``op``, which is one for the whole process: two threads may open stores at once.
    try:
        context.run_migrations(connection=connection)
        fill(connection, place)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"{place} is of an older version and cannot be brought up to date ({error!r}): "
            f"give another {place.noun}, it is left as it is"
        ) from error
