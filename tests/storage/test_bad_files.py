from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from search_space.budget import Budget
from search_space.errors import StoreError
from storage import Store

ORDINARY_USER_ID = 65534


@contextmanager
def refused(part: str) -> Iterator[None]:
    with pytest.raises(StoreError) as caught:
        yield
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "sqlalche" not in str(caught.value)


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Permissions hold for everybody but root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(ORDINARY_USER_ID)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def page_limit(pages: int) -> Iterator[None]:
    """A disk that fills up, as far as SQLite can tell."""

    def limit(connection, _record):
        connection.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(Engine, "connect", limit)
    try:
        yield
    finally:
        event.remove(Engine, "connect", limit)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that others can enter, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def full_store(public_folder, machine, workload, space, measured_trial) -> Path:
    path = public_folder / "history.db"
    with Store(str(path)) as store:
        store.add(store.open_study(machine, workload, Budget(), space), measured_trial)
    return path


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


def test_a_file_that_cannot_be_written(full_store):
    full_store.chmod(0o444)
    before = full_store.read_bytes()
    with ordinary_user():
        with refused(f"{full_store} cannot be"):
            Store(str(full_store))
        with Store(str(full_store), read_only=True) as store:
            assert len(store.trials()) == 1
    assert full_store.read_bytes() == before


def test_a_folder_that_cannot_be_written(full_store):
    full_store.parent.chmod(0o555)
    with ordinary_user():
        for name in ("new.db", "deep/new.db"):
            with refused("cannot be opened"):
                Store(str(full_store.parent / name))
        with refused(f"{full_store} cannot be"):
            Store(str(full_store))
        with Store(str(full_store), read_only=True) as store:
            assert len(store.trials()) == 1


def test_work_to_roll_back_is_not_passed_over(full_store, leave_half_done):
    leave_half_done(full_store)
    full_store.parent.chmod(0o555)
    with ordinary_user(), refused("cannot be written: allow writing to the file and its folder"):
        Store(str(full_store), read_only=True)
    full_store.parent.chmod(0o755)
    with Store(str(full_store), read_only=True) as store:
        assert len(store.trials()) == 1


def test_a_log_that_cannot_be_read_is_not_passed_over(full_store):
    full_store.with_name("history.db-wal").write_bytes(b"x" * 100)
    full_store.parent.chmod(0o555)
    with ordinary_user(), refused("cannot be opened"):
        Store(str(full_store), read_only=True)


def test_a_file_that_cannot_be_read(full_store):
    full_store.chmod(0o000)
    for read_only in (False, True):
        with ordinary_user(), refused("cannot be opened: check"):
            Store(str(full_store), read_only=read_only)


def test_a_file_that_becomes_read_only_meanwhile(full_store, measured_trial):
    full_store.chmod(0o666)
    full_store.parent.chmod(0o777)
    with ordinary_user(), Store(str(full_store)) as store:
        os.seteuid(os.getuid())
        full_store.chmod(0o444)
        with ordinary_user(), refused("cannot be written: allow writing"):
            store.add(1, measured_trial)
        assert len(store.trials()) == 1


@pytest.mark.parametrize("pages", [1, 5, 20])
def test_a_full_disk_on_opening(tmp_path, pages):
    path = tmp_path / "history.db"
    with page_limit(pages), refused("the disk is full; free some space"):
        Store(str(path))
    with Store(str(path)) as store:
        assert store.trials() == []


def test_a_full_disk_on_adding(full_store, failed_trial):
    bulky = replace(failed_trial.outcome, log="x" * 200_000)
    with page_limit(45), Store(str(full_store)) as store:
        with refused("the disk is full; free some space, stored trials are kept"):
            store.add(1, replace(failed_trial, outcome=bulky))
        assert len(store.trials()) == 1
    with closing(sqlite3.connect(full_store)) as connection:
        assert connection.execute("SELECT count(*) FROM config").fetchone() == (1,)


FILL = """
import sys
from search_space.budget import Budget
from search_space.errors import StoreError
from search_space.machine import Machine
from search_space.trial import Failure, FailureKind, Trial
from search_space.workload import Workload
from storage import Store

path, limit_bytes = sys.argv[1], int(sys.argv[2])
if limit_bytes:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
kept = 0
try:
    with Store(path) as store:
        study_id = store.open_study(Machine("cpu", "", 0, 1, 1, ""), Workload("m"), Budget(), {})
        while kept < 1000:
            store.add(study_id, Trial({}, Failure(FailureKind.CRASH, "x", log="x" * 9999), 1, ""))
            kept += 1
except StoreError as error:
    print(error)
with Store(path, read_only=True) as store:
    print(kept, len(store.trials()))
"""


def test_a_disk_that_really_fills_up(tmp_path, run_child):
    mount = f'mount -t tmpfs -o size=400k none {tmp_path} && exec "$@"'
    within = ("unshare", "--mount", "sh", "-c", mount, "sh")
    if not shutil.which("unshare") or run_child("", within=within).returncode:
        pytest.skip("needs the right to mount")
    child = run_child(FILL, str(tmp_path / "history.db"), "0", within=within)
    message, counts = child.stdout.splitlines()
    assert "the disk is full; free some space" in message
    kept, stored = counts.split()
    assert int(kept) == int(stored) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on file sizes is Linux's")
def test_a_limit_on_the_size_of_files(tmp_path, run_child):
    child = run_child(FILL, str(tmp_path / "history.db"), "300000")
    message, counts = child.stdout.splitlines()
    assert "the disk answers with an error or has a limit" in message
    kept, stored = counts.split()
    assert int(kept) == int(stored) > 0
