"""Disks that are full, and limits on files."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import Engine, event

from storage import Store
from tests.storage.refusals import refused


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
from search_space.config import BASELINE
from search_space.errors import StoreError
from search_space.hardware.machine import Machine
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
            crash = Failure(FailureKind.CRASH, "x", log="x" * 9999)
            store.add(study_id, Trial(BASELINE, crash, 1, ""))
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
