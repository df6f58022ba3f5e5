from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import BigInteger, Float, Integer, Text, create_engine, inspect
from sqlalchemy.types import TypeEngine

from search_space.budget import Budget
from search_space.config import Config
from search_space.errors import StoreError
from search_space.identity import fingerprint
from search_space.knob import Tier
from search_space.trial import Condition, Failure, Measurement, Trial
from storage import Store
from storage.migrations import MIGRATIONS, Migration, m001_initial, migration
from storage.schema import metadata

VERSION_1 = Path(__file__).with_name("version_1.sql").read_text()


@pytest.fixture
def first_store(tmp_path: Path) -> Path:
    """A store as the first version left it, with three trials."""
    path = tmp_path / "version_1.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
    return path


@contextmanager
def one_more(change: Migration) -> Iterator[None]:
    migration(change)
    try:
        yield
    finally:
        MIGRATIONS.remove(change)


def m999_colour(connection):
    connection.exec_driver_sql("ALTER TABLE trial ADD COLUMN colour TEXT")


def m999_broken(connection):
    connection.exec_driver_sql("ALTER TABLE trial ADD COLUMN colour TEXT")
    connection.exec_driver_sql("DROP TABLE sample")
    connection.exec_driver_sql("ALTER TABLE nowhere ADD COLUMN colour TEXT")


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
        assert trials[1].outcome == measured_trial.outcome
        assert isinstance(trials[2].outcome, Failure)
        assert store.measured(machine, workload) == trials
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


def test_the_first_migration_stays_what_it_was(first_store, tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/first.db")
    with engine.begin() as connection:
        m001_initial(connection)
    engine.dispose()
    kept = shape(f"sqlite:///{first_store}")
    del kept["autotune_migration"]
    assert shape(f"sqlite:///{tmp_path}/first.db") == kept


def test_a_new_migration_is_applied_once(first_store):
    with one_more(m999_colour):
        for _ in range(2):
            with Store(str(first_store)) as store:
                assert len(store.trials()) == 3
    with closing(sqlite3.connect(first_store)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM autotune_migration")]
    assert names.count("m999_colour") == 1


def test_a_migration_that_fails_leaves_everything_as_it_was(first_store):
    with one_more(m999_broken), pytest.raises(StoreError, match="no such table: nowhere"):
        Store(str(first_store))
    with Store(str(first_store)) as store:
        assert len(store.trials()) == 3


def test_a_newer_store_is_left_alone(first_store):
    with one_more(m999_colour):
        Store(str(first_store)).close()
    before = first_store.read_bytes()
    for read_only in (False, True):
        with pytest.raises(StoreError, match=r"newer version .*m999_colour.*pip install --upgrade"):
            Store(str(first_store), read_only=read_only)
    assert first_store.read_bytes() == before


def test_an_older_store_is_not_migrated_by_reading(first_store):
    before = first_store.read_bytes()
    with one_more(m999_colour), pytest.raises(StoreError, match="older version: 'tune run'"):
        Store(str(first_store), read_only=True)
    assert first_store.read_bytes() == before


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("UPDATE failure SET kind = 'bored'", "bored"),
        ("""UPDATE machine SET facts = '{"native_dtypes": [], "flavour": 1}'""", "flavour"),
        ("UPDATE config SET choices = '{'", "Expecting"),
    ],
)
def test_words_of_a_newer_version_are_not_a_traceback(first_store, statement, word):
    with closing(sqlite3.connect(first_store)) as connection:
        connection.execute(statement)
        connection.commit()
    with Store(str(first_store)) as store, pytest.raises(StoreError, match=word) as caught:
        store.trials()
    assert "\n" not in str(caught.value)
