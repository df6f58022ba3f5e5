"""The last version before Alembic: what it wrote says the same once it is migrated."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from pathlib import Path
from statistics import median

import pytest
from sqlalchemy import create_engine

from search_space.trial import Condition, Trial
from storage import Store
from storage.migrations import revisions
from tests.postgresql import as_sqlalchemy
from tests.storage.versions import VERSION_5, store_of
from tuner.race.paired_calls import comparable

# In the order of their references.
TABLES = ("autotune_migration", "machine", "software", "workload", "study", "config", "trial")
TABLES += ("sample", "memory", "fidelity", "condition", "work")
BATCH_SIZE = 2
TIMES_8 = 18
OF_ONE_IMAGE = {2, 4, 5, 6, 7}


@pytest.fixture
def fifth_store(tmp_path: Path) -> Path:
    return store_of(VERSION_5, tmp_path)


@pytest.fixture
def before(fifth_store: Path) -> Callable[[str], list[tuple]]:
    """The answers of the store as it was."""
    with closing(sqlite3.connect(":memory:")) as kept:
        with closing(sqlite3.connect(fifth_store)) as connection:
            connection.backup(kept)
        yield lambda query: kept.execute(query).fetchall()


@pytest.fixture
def trials(fifth_store: Path, before: object) -> dict[int, Trial]:
    with Store(str(fifth_store)) as store:
        return {stored.trial.number: stored.trial for stored in store.trials()}


def test_every_latency_is_what_it_was(before, trials):
    samples = defaultdict(list)
    for number, seconds in before(
        "SELECT trial_number, seconds FROM sample WHERE kind = 'steady' ORDER BY 1, position"
    ):
        samples[number].append(seconds)
    assert samples.keys() == trials.keys()
    for number, trial in trials.items():
        assert trial.measurement.latency_s == pytest.approx(median(samples[number]), rel=1e-12)


def test_it_is_known_how_many_images_a_call_made(trials):
    images = {number: trial.measurement.images for number, trial in trials.items()}
    one = dict.fromkeys(OF_ONE_IMAGE, 1)
    assert images == {**one, 10: BATCH_SIZE, 17: BATCH_SIZE, TIMES_8: 8 * BATCH_SIZE}


def test_samples_are_seconds_a_call(before, trials):
    query = "SELECT seconds FROM sample WHERE trial_number = {} AND kind = '{}' ORDER BY position"
    for number, trial in trials.items():
        measured = trial.measurement
        for kind, samples in measured.seconds.items():
            divided = number not in OF_ONE_IMAGE and kind in ("steady", "disturbed")
            factor = measured.images if divided else 1
            kept = [factor * seconds for (seconds,) in before(query.format(number, kind))]
            assert list(samples) == kept
    # The second call was never divided: the steady ones take about as long.
    seconds = trials[TIMES_8].measurement.seconds
    assert 0.2 < median(seconds["steady"]) / seconds["second_call"][0] < 5.0


def test_the_work_of_the_baseline_is_that_of_a_call(before, trials):
    asked = dict(before("SELECT metric, value FROM work WHERE trial_number = 10"))
    work = trials[10].measurement.work
    assert work.keys() == asked.keys()
    for metric, value in asked.items():
        factor = BATCH_SIZE if metric in ("flops", "weights_read") else 1
        assert work[metric] == factor * value


def test_the_calls_that_lay_beside_each_other_still_do(before, trials):
    stamps = defaultdict(dict)
    for race, round, began_s, *call in before(
        """SELECT race, round, value, trial_number, sample_kind, sample_position FROM condition
        JOIN trial ON trial.number = trial_number WHERE kind = 'turn_unix_s'"""
    ):
        stamps[race, round][tuple(call)] = began_s
    assert len(stamps) == 3
    for calls in stamps.values():
        times = sorted(set(calls.values()))
        for (number, kind, position), began_s in calls.items():
            assert trials[number].measurement.turns[kind][position] == times.index(began_s)
    alone = trials.keys() - {number for calls in stamps.values() for number, *_ in calls}
    assert {bool(trials[number].measurement.turns) for number in alone} == {False}


def test_nothing_else_that_was_seen_is_lost(before, trials):
    query = """SELECT kind, value, complaint, sample_kind, sample_position FROM condition
    WHERE trial_number = {} AND kind <> 'turn_unix_s' ORDER BY position"""
    for number, trial in trials.items():
        rows = before(query.format(number))
        kept = [Condition(kind.replace("pace", "probe"), *seen) for kind, *seen in rows]
        assert list(trial.measurement.conditions) == kept


def test_the_conditions_of_a_trial_are_counted_without_a_gap(fifth_store, trials):
    with closing(sqlite3.connect(fifth_store)) as connection:
        counts = connection.execute(
            "SELECT min(position), max(position) + 1, count(*) FROM condition GROUP BY trial_number"
        ).fetchall()
    assert len(counts) == len(trials)
    assert all(first == 0 and after == count for first, after, count in counts)


# The latencies as the version before told them of its own store.
@pytest.mark.parametrize(
    ("round", "latencies_s"),
    [
        ((4, 5), [0.3552211070516115, 11.329641438036349]),
        ((6, 7), [10.393614040732581, 0.39816380446545624]),
        ((17, 18), [0.21575667959875144, 0.1409921241836679]),
    ],
)
def test_a_race_compares_what_it_compared(trials, round, latencies_s):
    compared = comparable([trials[number].measurement for number in round])
    assert [one.latency_s for one in compared] == pytest.approx(latencies_s, rel=1e-12)


def test_a_server_is_migrated_to_the_same(postgresql, fifth_store, trials, before):
    engine = create_engine(as_sqlalchemy(postgresql))
    with engine.begin() as connection:
        for name in revisions()[:5]:
            import_module(f"storage.revisions.{name}").upgrade(connection)
        connection.exec_driver_sql("CREATE TABLE autotune_migration (name TEXT, at TEXT)")
        for table in TABLES:
            for row in before(f"SELECT * FROM {table}"):
                marks = ", ".join(["%s"] * len(row))
                connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({marks})", row)
    engine.dispose()
    with Store(postgresql) as store:
        assert {stored.trial.number: stored.trial for stored in store.trials()} == trials
