"""Claims of several runs on one store."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import pytest
from sqlalchemy import insert, select, update

from storage import Claims, Store
from storage.claims import Claim, this_host
from storage.schema import claim

BEAT_S = 0.05
LIMIT_S = 0.6


@pytest.fixture
def shared(shared_url: str) -> Iterator[Store]:
    with Store(shared_url) as opened:
        yield opened


@pytest.fixture
def of_run(shared: Store) -> Callable[[], Claims]:
    """Claims of one more run."""
    return lambda: Claims(shared, BEAT_S, LIMIT_S)


def rows(store: Store) -> list[Claim]:
    query = select(claim).order_by(claim.c.subject)
    return store.write(lambda db: [Claim(**row) for row in db.execute(query).mappings()])


def leave(store: Store, **facts: object) -> None:
    """The claim of a run that says nothing any more."""
    row = Claim("config", "token", "elsewhere", 1, "2026-01-31T12:00:00.000+00:00")
    store.write(lambda db: db.execute(insert(claim).values(asdict(replace(row, **facts)))))


def test_one_run_has_a_subject_until_it_drops_it(of_run, shared):
    with of_run() as one, of_run() as two:
        assert one.take("config")
        assert one.take("config")
        assert not two.take("config")
        assert two.take("another")
        one.drop("config")
        assert two.take("config")
        one.drop("config")
        assert [row.subject for row in rows(shared)] == ["another", "config"]
    assert rows(shared) == []


def test_of_many_one_has_it(of_run):
    with ThreadPoolExecutor(8) as threads:
        runs = [of_run() for _ in range(8)]
        taken = list(threads.map(lambda run: run.take("config"), runs))
    assert sorted(taken) == [False] * 7 + [True]


def test_a_run_that_lives_keeps_its_claims_beyond_the_limit(of_run, shared):
    with of_run() as one, of_run() as two:
        one.take("config")
        began = rows(shared)
        ends_s = time.monotonic() + 3 * LIMIT_S
        while time.monotonic() < ends_s:
            assert not two.take("config")
            time.sleep(BEAT_S)
        assert rows(shared)[0].beat_at > began[0].beat_at


def test_a_run_that_is_silent_for_long_has_lost_its_claims(of_run, shared):
    leave(shared)
    with of_run() as run:
        began_s = time.monotonic()
        while not run.take("config"):
            time.sleep(BEAT_S)
        assert time.monotonic() - began_s >= LIMIT_S
        assert rows(shared)[0].token != "token"


def test_a_clock_that_is_set_voids_no_claim(of_run, shared):
    leave(shared, beat_at="1970-01-01T00:00:00.000+00:00")
    with of_run() as run:
        assert not run.take("config")
        shared.write(lambda db: db.execute(update(claim).values(beat_at="2970-01-01")))
        assert not run.take("config")


@pytest.fixture(params=["reaped", "zombie"])
def dead_pid(request: pytest.FixtureRequest) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", ""])
    if request.param == "reaped":
        process.wait()
    else:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    yield process.pid
    process.wait()


def test_a_run_that_has_died_here_has_lost_its_claims_at_once(of_run, shared, dead_pid):
    leave(shared, host=this_host(), pid=dead_pid)
    with of_run() as run:
        assert run.take("config")


def test_a_number_of_another_host_says_nothing_here(of_run, shared, dead_pid):
    leave(shared, pid=dead_pid)
    with of_run() as run:
        assert not run.take("config")


def test_who_waits_says_so_and_has_it_next(of_run):
    told = []
    with of_run() as one, of_run() as two, ThreadPoolExecutor() as threads:
        assert one.take("race")

        def wait() -> None:
            with two.in_turn("race", lambda: told.append("waits")):
                told.append("has it")

        waiting = threads.submit(wait)
        time.sleep(4 * BEAT_S)
        assert told == ["waits"]
        one.drop("race")
        waiting.result()
        assert told == ["waits", "has it"]
        with one.in_turn("race", lambda: told.append("waits again")):
            assert len(told) == 2


def test_a_store_in_memory_is_nobody_elses():
    with Store("sqlite://") as store, Claims(store) as one, Claims(store) as two:
        assert one.take("config")
        assert two.take("config")
