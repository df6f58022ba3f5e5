from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import BigInteger, Float, Integer, Text, create_engine, inspect
from sqlalchemy.types import TypeEngine

from search_space.budget import Budget
from search_space.config import Config
from search_space.errors import StoreError
from search_space.identity import fingerprint
from search_space.knob import Tier
from search_space.trial import Condition, Failure, Measurement, Trial
from storage import Store
from storage.migrations import FOLDERS, revisions
from storage.schema import metadata
from tests.storage.refusals import refused
from tests.storage.versions import COLOUR, backups, dump, one_more

BEFORE_ALEMBIC = revisions()[:5]


def of_version(path: Path, count: int) -> None:
    """Bring a store of the first version to a later one, as it was done before Alembic."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        for name in BEFORE_ALEMBIC[1:count]:
            import_module(f"storage.revisions.{name}").upgrade(connection)
            row = (name, "2026-11-24T08:00:00+00:00")
            connection.exec_driver_sql("INSERT INTO autotune_migration VALUES (?, ?)", row)
    engine.dispose()


def storage_class(column_type: TypeEngine[object]) -> type[object]:
    # DOUBLE and DOUBLE PRECISION are the same to SQLite.
    classes = (Float, BigInteger, Integer, Text)
    return next(known for known in classes if isinstance(column_type, known))


def shape(url: str) -> dict[str, object]:
    """Everything that a database says about its tables."""
    engine = create_engine(url)
    tables = inspect(engine)
    shapes = {
        name: (
            [
                (column["name"], storage_class(column["type"]), column["nullable"])
                for column in tables.get_columns(name)
                if column["name"] not in tables.get_pk_constraint(name)["constrained_columns"]
            ],
            tables.get_pk_constraint(name)["constrained_columns"],
            sorted(tables.get_unique_constraints(name), key=str),
            sorted(tables.get_foreign_keys(name), key=str),
            sorted(tables.get_indexes(name), key=str),
        )
        for name in tables.get_table_names()
    }
    engine.dispose()
    return shapes


def test_migrations_end_at_the_schema(tmp_path):
    migrated, described = f"sqlite:///{tmp_path}/migrated.db", f"sqlite:///{tmp_path}/described.db"
    Store(migrated).close()
    engine = create_engine(described)
    metadata.create_all(engine)
    engine.dispose()
    assert shape(migrated) == shape(described)


def test_a_store_of_the_first_version_opens(first_store, machine, workload, measured_trial):
    with Store(str(first_store)) as store:
        trials = [stored.trial for stored in store.trials()]
        assert [trial.number for trial in trials] == [1, 2, 3]
        assert trials[1].config == measured_trial.config
        assert trials[1].outcome == replace(measured_trial.outcome, images=2)
        assert isinstance(trials[2].outcome, Failure)
        assert store.of_workload(machine, workload) == trials
        assert {trial.budget.host_bytes for trial in trials} == {None}
        assert store.add(1, measured_trial).number == 4


def test_a_study_without_a_budget_of_the_host_keeps_its_identity(tmp_path, machine, workload):
    path = tmp_path / "history.db"
    with Store(str(path)) as store:
        first = store.open_study(machine, workload, Budget(8), {"dtype": ["float32"]})
        assert store.open_study(machine, workload, Budget(8, 4), {"dtype": ["float32"]}) != first
    before = {
        "machine": machine.fingerprint,
        "software": machine.software_fingerprint,
        "workload": workload.fingerprint,
        "memory_bytes": 8,
        "space": {"dtype": ["float32"]},
    }
    with closing(sqlite3.connect(path)) as connection:
        kept = connection.execute("SELECT fingerprint, host_memory_bytes FROM study ORDER BY id")
        assert kept.fetchall()[0] == (fingerprint(before), None)


def test_a_store_without_a_quality_judges_none(first_store, machine, workload, space):
    with Store(str(first_store)) as store:
        assert {stored.trial.budget.quality for stored in store.trials()} == {None}
        study_id = store.open_study(machine, workload, Budget(quality=Tier.NEAR), space)
        assert store.trials(study_id=study_id) == []


def test_a_store_of_the_first_version_takes_what_is_seen_of_the_machine(first_store):
    seen = (Condition("others_cores", 0.5, "someone", "steady", 2),)
    measured = Measurement({"steady": (1.0,)}, (), conditions=seen, work={"flops": 1e12})
    with Store(str(first_store)) as store:
        number = store.add(1, Trial(Config({}), measured, 1.0, "2026-01-31")).number
        assert store.trial(number).trial.outcome == measured
        assert store.trial(2).trial.outcome.conditions == ()
        assert store.trial(2).trial.outcome.work == {}


def test_the_first_revision_stays_what_it_was(first_store, tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/first.db")
    with engine.begin() as connection:
        import_module("storage.revisions.m001_initial").upgrade(connection)
    engine.dispose()
    kept = shape(f"sqlite:///{first_store}")
    del kept["autotune_migration"]
    assert shape(f"sqlite:///{tmp_path}/first.db") == kept


def test_revisions_are_called_like_their_files_and_follow_each_other():
    chain = list(ScriptDirectory(FOLDERS[0], version_locations=FOLDERS).walk_revisions())
    names = revisions()
    assert [script.revision for script in reversed(chain)] == names
    assert [script.down_revision for script in reversed(chain)] == [None, *names[:-1]]
    assert all(script.path.endswith(f"{script.revision}.py") for script in chain)


@pytest.mark.parametrize("count", range(1, 6))
def test_a_store_of_each_version_before_alembic_opens(first_store, tmp_path, count, machine):
    of_version(first_store, count)
    with Store(str(first_store)) as store, Store(f"sqlite:///{tmp_path}/new.db") as new:
        trials = [stored.trial for stored in store.trials()]
        assert [trial.number for trial in trials] == [1, 2, 3]
        assert store.backup.name.startswith(f"version_1.db.backup-{BEFORE_ALEMBIC[count - 1]}-")
        assert new.backup is None
    assert shape(f"sqlite:///{first_store}") == shape(f"sqlite:///{tmp_path}/new.db")
    with Store(str(first_store), read_only=True) as again:
        assert [stored.trial for stored in again.trials()] == trials


def test_a_new_revision_is_applied_once(first_store, tmp_path):
    with one_more(tmp_path, COLOUR):
        for _ in range(2):
            with Store(str(first_store)) as store:
                assert len(store.trials()) == 3
    with closing(sqlite3.connect(first_store)) as connection:
        kept = connection.execute("SELECT version_num FROM autotune_version").fetchall()
    assert kept == [("m999_later",)]


@pytest.mark.parametrize("count", [1, 5, 0])
def test_a_revision_that_fails_leaves_everything_as_it_was(first_store, tmp_path, count):
    of_version(first_store, count)
    if not count:
        Store(str(first_store)).close()
    before, copies = dump(first_store), backups(first_store)
    broken = (COLOUR, "DROP TABLE sample", "ALTER TABLE nowhere ADD COLUMN colour TEXT")
    with one_more(tmp_path, *broken), refused("no such table: nowhere"):
        Store(str(first_store))
    assert dump(first_store) == before
    assert backups(first_store) == copies
    with Store(str(first_store)) as store:
        assert len(store.trials()) == 3


def test_a_newer_store_is_left_alone(first_store, tmp_path):
    with one_more(tmp_path, COLOUR):
        Store(str(first_store)).close()
    before, copies = first_store.read_bytes(), backups(first_store)
    for read_only in (False, True):
        with pytest.raises(StoreError, match=r"newer version .*m999_later.*pip install --upgrade"):
            Store(str(first_store), read_only=read_only)
    assert first_store.read_bytes() == before
    assert backups(first_store) == copies


@pytest.mark.parametrize("count", [1, 5])
def test_an_older_store_is_not_migrated_by_reading(first_store, tmp_path, count):
    of_version(first_store, count)
    before = first_store.read_bytes()
    with refused("older version: 'tune run' brings it up to date"):
        Store(str(first_store), read_only=True)
    assert first_store.read_bytes() == before
    assert list(tmp_path.iterdir()) == [first_store]


def test_the_versions_of_others_in_the_same_database_are_theirs(first_store):
    with closing(sqlite3.connect(first_store)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
        connection.execute("INSERT INTO alembic_version VALUES ('v3.2.0.a')")
        connection.commit()
    for _ in range(2):
        with Store(str(first_store)) as store:
            assert len(store.trials()) == 3
    with closing(sqlite3.connect(first_store)) as connection:
        kept = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    assert kept == [("v3.2.0.a",)]


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("UPDATE failure SET kind = 'bored'", "bored"),
        ("""UPDATE machine SET facts = '{"native_dtypes": [], "flavour": 1}'""", "flavour"),
        ("UPDATE config SET choices = '{'", "Expecting"),
    ],
)
def test_words_of_a_newer_version_are_not_a_traceback(first_store, statement, word):
    Store(str(first_store)).close()
    with closing(sqlite3.connect(first_store)) as connection:
        connection.execute(statement)
        connection.commit()
    with Store(str(first_store)) as store, pytest.raises(StoreError, match=word) as caught:
        store.trials()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("column", ["config SET choices", "workload SET facts"])
@pytest.mark.parametrize("content", ["{", "[]", "7"])
def test_an_older_store_that_cannot_be_read_is_left_as_it_is(first_store, column, content):
    with closing(sqlite3.connect(first_store)) as connection:
        connection.execute(f"UPDATE {column} = '{content}'")
        connection.commit()
    before = dump(first_store)
    with refused("is of an older version and cannot be brought up to date"):
        Store(str(first_store))
    assert dump(first_store) == before
    assert backups(first_store) == []
