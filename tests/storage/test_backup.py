"""The copy that is made of an older store before it is migrated."""

from __future__ import annotations

import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from search_space.budget import Budget
from storage import Store
from tests.storage.refusals import refused
from tests.storage.versions import COLOUR, backups, dump, one_more

OPEN = """
import sys
from storage import Store
Store(sys.argv[1]).close()
"""
LEAVE_A_LOG = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("UPDATE trial SET cost_s = 7")
connection.commit()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_copy_is_what_the_store_was(first_store):
    before = dump(first_store)
    with Store(str(first_store)) as store:
        assert backups(first_store) == [store.backup]
        assert len(store.trials()) == 3
    assert dump(store.backup) == before != dump(first_store)


def test_a_store_that_is_up_to_date_is_not_copied(first_store):
    Store(str(first_store)).close()
    with Store(str(first_store)) as store:
        assert store.backup is None
    assert len(backups(first_store)) == 1


def test_what_stands_in_the_log_is_in_the_copy(first_store, run_child):
    run_child(LEAVE_A_LOG, str(first_store))
    assert first_store.with_name("version_1.db-wal").stat().st_size > 0
    with Store(str(first_store)) as store, closing(sqlite3.connect(store.backup)) as copy:
        assert copy.execute("SELECT DISTINCT cost_s FROM trial").fetchall() == [(7.0,)]


def test_a_copy_can_be_put_back(first_store):
    with Store(str(first_store)) as store:
        before = store.trials()
    store.backup.replace(first_store)
    with Store(str(first_store)) as again:
        assert again.trials() == before


def test_who_may_not_read_the_store_may_not_read_its_copy(first_store):
    first_store.chmod(0o600)
    with Store(str(first_store)) as store:
        assert store.backup.stat().st_mode & 0o777 == 0o600


def test_of_processes_that_open_at_once_one_copies_and_migrates(first_store, run_child):
    with ThreadPoolExecutor() as threads:
        children = list(threads.map(lambda _: run_child(OPEN, str(first_store)), range(3)))
    assert [child.stderr for child in children] == ["", "", ""]
    assert len(backups(first_store)) == 1
    with Store(str(first_store), read_only=True) as store:
        assert len(store.trials()) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on file sizes is Linux's")
def test_a_store_that_cannot_be_copied_is_not_migrated(first_store, run_child):
    before = first_store.read_bytes()
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) // 2},) * 2)"
    child = run_child(limit + OPEN, str(first_store))
    last = child.stderr.splitlines()[-1]
    assert "is of an older version and could not be copied before it is changed" in last
    assert "free some space" in last
    assert first_store.read_bytes() == before
    assert backups(first_store) == []


def test_a_process_killed_while_migrating(first_store, run_child):
    before = dump(first_store)
    die = """
import os, signal, sys
from sqlalchemy import Engine, event
from storage import Store

@event.listens_for(Engine, "before_cursor_execute")
def die(connection, cursor, statement, *rest):
    if statement.strip().startswith("ALTER TABLE trial"):
        os.kill(os.getpid(), signal.SIGKILL)

Store(sys.argv[1])
"""
    assert run_child(die, str(first_store)).returncode == -9
    assert dump(first_store) == before
    assert [dump(copy) for copy in backups(first_store)] == [before]
    with Store(str(first_store)) as store:
        assert len(store.trials()) == 3


def test_memory_is_not_copied():
    with Store("sqlite://") as store:
        assert store.backup is None


def test_a_server_is_migrated_without_a_copy(postgresql, tmp_path, machine, workload, space):
    with Store(postgresql) as store:
        number = store.open_study(machine, workload, Budget(), space)
    with one_more(tmp_path, COLOUR):
        with refused("older version: 'tune run' brings it up to date"):
            Store(postgresql, read_only=True)
        with Store(postgresql) as store:
            assert store.backup is None
            assert store.open_study(machine, workload, Budget(), space) == number
    with refused("newer version (it has m999_later)"):
        Store(postgresql)
