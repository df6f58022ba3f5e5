"""Files that are no store of ours, or are damaged."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from search_space.budget import Budget
from storage import Store
from tests.storage.refusals import refused


@pytest.mark.parametrize("size_bytes", [1, 15, 100, 511, 512, 4096, 100_000])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_that_is_not_sqlite(tmp_path, size_bytes, read_only):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8" * (size_bytes // 2) + b"x" * (size_bytes % 2))
    before = path.read_bytes()
    with refused(f"{path} is not an SQLite file"):
        Store(str(path), read_only=read_only)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_a_database_of_somebody_else(tmp_path, mode, read_only):
    path = tmp_path / "bookmarks.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("CREATE TABLE bookmark (id INTEGER)")
        connection.commit()
    before = path.read_bytes()
    with refused(f"{path} holds tables that are not ours: give another file"):
        Store(str(path), read_only=read_only)
    assert path.read_bytes() == before


def test_a_database_of_somebody_else_who_was_killed(tmp_path, run_child):
    path = tmp_path / "bookmarks.db"
    run_child(
        """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("CREATE TABLE bookmark (id INTEGER)")
connection.commit()
os.kill(os.getpid(), signal.SIGKILL)
""",
        str(path),
    )
    log = path.with_name("bookmarks.db-wal")
    before = path.read_bytes(), log.read_bytes()
    with refused("tables that are not ours"):
        Store(str(path))
    assert (path.read_bytes(), log.read_bytes()) == before


def test_an_empty_file_becomes_a_store(tmp_path):
    path = tmp_path / "history.db"
    path.touch()
    with refused("run 'tune run' first"):
        Store(str(path), read_only=True)
    assert path.read_bytes() == b""
    with Store(str(path)) as store:
        assert store.trials() == []


@pytest.mark.parametrize("read_only", [False, True])
def test_a_folder_given_as_a_file(tmp_path, read_only):
    with refused(f"{tmp_path} is not a file: give a file, such as {tmp_path}/history.db"):
        Store(str(tmp_path), read_only=read_only)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["/dev/null", "/dev/full", ""])
def test_what_is_no_file(name):
    with refused("is not a file"):
        Store(name)


def test_a_file_given_as_a_folder(tmp_path):
    (tmp_path / "notes").write_text("mine")
    with refused("cannot be opened"):
        Store(str(tmp_path / "notes" / "history.db"))


def test_a_name_that_is_too_long(tmp_path):
    with refused("cannot be opened (File name too long)"):
        Store(str(tmp_path / ("x" * 300)))


def test_reading_what_is_not_there_creates_nothing(tmp_path):
    path = tmp_path / "deep" / "history.db"
    with refused(f"no store at {path}: run 'tune run' first"):
        Store(str(path), read_only=True)
    assert list(tmp_path.iterdir()) == []
    with refused("no store at"):
        Store("sqlite://", read_only=True)


def test_a_store_that_was_damaged(full_store):
    content = full_store.read_bytes()
    full_store.write_bytes(content[:4096] + b"\xaa" * (len(content) - 4096))
    with refused("is damaged: put back a copy"), Store(str(full_store)) as store:
        store.trials()


def test_a_url_that_forbids_writing(full_store, machine, workload, space, measured_trial):
    before = full_store.read_bytes()
    with Store(f"sqlite:///file:{full_store}?mode=ro&uri=true") as store:
        assert len(store.trials()) == 1
        with refused("was opened for reading only"):
            store.add(1, measured_trial)
        with refused("was opened for reading only"):
            store.open_study(machine, workload, Budget(), space)
    assert full_store.read_bytes() == before
