"""Files and folders that may not be read or written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from storage import Store
from tests.storage.refusals import refused

ORDINARY_USER_ID = 65534


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
