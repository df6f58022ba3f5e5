from __future__ import annotations

import sqlite3
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from search_space.budget import Budget
from search_space.errors import StoreError
from storage import Store
from storage.engine import make_engine
from storage.place import Place

# Adds trials, and in the middle of the fourth the process is gone: its row in ``trial`` is written.
DIE = """
import os, signal, sys
from sqlalchemy import Engine, event
from search_space.budget import Budget
from search_space.config import Config
from search_space.hardware.machine import Machine
from search_space.trial import Measurement, Trial
from search_space.workload import Workload
from storage import Store

store = Store(sys.argv[1])
study_id = store.open_study(Machine("cpu", "", 0, 1, 1, ""), Workload("m"), Budget(), {})
for number in range(1, 4):
    measured = Measurement({"steady": (number,)}, ())
    store.add(study_id, Trial(Config({"n": str(number)}), measured, 1, ""))

@event.listens_for(Engine, "before_cursor_execute")
def die(connection, cursor, statement, *rest):
    if statement.startswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

store.add(study_id, Trial(Config({"n": "4"}), Measurement({"steady": (4,)}, ()), 1, ""))
"""
DIE_OPENING = """
import os, signal, sys
from sqlalchemy import Engine, event
from storage import Store

@event.listens_for(Engine, "before_cursor_execute")
def die(connection, cursor, statement, *rest):
    if statement.strip().startswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

Store(sys.argv[1])
"""
ADD_MANY = """
import sys
from search_space.budget import Budget
from search_space.config import Config
from search_space.hardware.machine import Machine
from search_space.trial import Measurement, Trial
from search_space.workload import Workload
from storage import Store

with Store(sys.argv[1]) as store:
    study_id = store.open_study(Machine("cpu", "", 0, 1, 1, ""), Workload("m"), Budget(), {})
    for number in range(int(sys.argv[2])):
        measured = Measurement({"steady": (1, 2)}, ())
        store.add(study_id, Trial(Config({"n": str(number)}), measured, 1, ""))
"""


@pytest.mark.parametrize(
    "statement", ["INSERT INTO config", "INSERT INTO trial", "INSERT INTO sam"]
)
def test_a_killed_process_loses_only_the_unfinished_trial(shared_url, run_child, statement):
    assert run_child(DIE, shared_url, statement).returncode == -9
    for read_only in (True, False):
        with Store(shared_url, read_only=read_only) as store:
            trials = [stored.trial for stored in store.trials()]
            assert [trial.config["n"] for trial in trials] == ["1", "2", "3"]
            assert [trial.outcome.latency_s for trial in trials] == [1, 2, 3]
    place = Place.parse(shared_url)
    with closing(make_engine(place).connect()) as connection:
        connection = connection.execution_options(autotune_begin="BEGIN")
        latest = connection.exec_driver_sql("SELECT max(trial_number) FROM sample")
        assert latest.fetchone() == (3,)
        if place.is_sqlite:
            sound = connection.exec_driver_sql("PRAGMA integrity_check")
            assert sound.fetchone() == ("ok",)


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE study", "CREATE INDEX", "INSERT INTO autotune"]
)
def test_a_process_killed_while_creating(tmp_path, run_child, statement):
    path = tmp_path / "history.db"
    assert run_child(DIE_OPENING, str(path), statement).returncode == -9
    with Store(str(path)) as store:
        assert store.trials() == []


def test_work_that_a_killed_process_left_to_roll_back(tmp_path, leave_half_done):
    path = tmp_path / "history.db"
    Store(str(path)).close()
    leave_half_done(path)
    with Store(str(path)) as store:
        assert store.trials() == []
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM config").fetchone() == (0,)


def test_readers_and_writer_do_not_wait_for_each_other(
    tmp_path, machine, workload, space, measured_trial
):
    path = tmp_path / "history.db"
    with Store(str(path)) as store:
        study_id = store.open_study(machine, workload, Budget(), space)
        store.add(study_id, measured_trial)
        with closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("UPDATE trial SET cost_s = 0")
            for _ in range(2):
                with Store(str(path), read_only=True) as reader:
                    assert [row.trial.cost_s for row in reader.trials()] == [measured_trial.cost_s]
            writer.execute("COMMIT")
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM trial").fetchone()
            assert store.add(study_id, measured_trial).number == 2


def test_a_locked_store_waits_and_then_says_so(tmp_path, measured_trial):
    path = tmp_path / "history.db"
    Store(str(path)).close()
    with (
        Store(f"sqlite:///{path}?timeout=0.3") as store,
        closing(sqlite3.connect(path, isolation_level=None)) as writer,
    ):
        writer.execute("BEGIN IMMEDIATE")
        started_s = time.monotonic()
        with pytest.raises(StoreError, match=r"is busy: another process .*; wait until"):
            store.add(1, measured_trial)
        assert time.monotonic() - started_s > 0.25


def test_processes_that_create_and_write_at_once(shared_url, run_child):
    with ThreadPoolExecutor() as threads:
        children = list(threads.map(lambda _: run_child(ADD_MANY, shared_url, "10"), range(3)))
    assert [child.stderr for child in children] == ["", "", ""]
    with Store(shared_url, read_only=True) as store:
        trials = [stored.trial for stored in store.trials()]
    assert len({trial.number for trial in trials}) == 30
    assert Counter(trial.config["n"] for trial in trials) == {str(n): 3 for n in range(10)}
    assert {trial.outcome.seconds["steady"] for trial in trials} == {(1.0, 2.0)}


def test_between_transactions_the_store_is_one_file(tmp_path, machine, workload, space):
    path = tmp_path / "history.db"
    with Store(str(path)) as store:
        store.open_study(machine, workload, Budget(), space)
        assert list(tmp_path.iterdir()) == [path]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_store_enforces_references(store, machine, workload, space, measured_trial):
    store.add(store.open_study(machine, workload, Budget(), space), measured_trial)
    with store._engine.connect() as connection, pytest.raises(Exception, match=r"(?i)foreign key"):
        connection.execution_options(autotune_begin="BEGIN").exec_driver_sql("DELETE FROM trial")
