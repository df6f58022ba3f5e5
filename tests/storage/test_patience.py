"""What fails for a passing reason: tried again, whole and once."""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread
from typing import TypeVar

import pytest
from sqlalchemy import make_url

from search_space.budget import Budget
from search_space.errors import StoreError
from storage import Store
from tests.postgresql import Server

T = TypeVar("T")

ENOUGH_S = 60.0
SOON_S = 0.7
SOCKET = ".s.PGSQL.5432"


def while_restarting(server: Server, work: Callable[[], T]) -> T:
    """What the work gives that begins while the server is stopped."""
    server.stop()
    with ThreadPoolExecutor() as threads:
        future = threads.submit(work)
        time.sleep(SOON_S)
        assert not future.done()
        # Here and not in a thread: Linux would end it with the thread that has started it.
        server.start()
        return future.result()


def test_a_server_that_restarts_loses_no_trial(
    server, machine, workload, space, measured_trial, failed_trial
):
    with Store(server.url, patience_s=ENOUGH_S) as store:
        study_id = store.open_study(machine, workload, Budget(), space)
        store.add(study_id, measured_trial)
        while_restarting(server, lambda: store.add(study_id, failed_trial))
        trials = while_restarting(server, lambda: store.of_workload(machine, workload))
        assert [trial.config for trial in trials] == [measured_trial.config, failed_trial.config]
        assert trials[1].outcome == failed_trial.outcome


def test_a_server_that_stays_away_is_said_after_the_patience(
    server, machine, workload, space, measured_trial
):
    with Store(server.url, patience_s=SOON_S) as store:
        study_id = store.open_study(machine, workload, Budget(), space)
        server.stop()
        began_s = time.monotonic()
        with pytest.raises(StoreError, match=r"the PostgreSQL server is gone or refuses; start it"):
            store.add(study_id, measured_trial)
        assert SOON_S / 4 < time.monotonic() - began_s < SOON_S + 5.0
        server.start()
        assert store.trials() == []


class Line:
    """A line to a server, which can be cut between a commit and its answer."""

    def __init__(self, url: str) -> None:
        self.to_cut = False
        self._folder = Path(tempfile.mkdtemp(dir="/tmp"))
        self._target = f"{make_url(url).query['host']}/{SOCKET}"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._folder / SOCKET))
        self._listener.listen()
        self.url = f"postgresql://postgres@/postgres?host={self._folder}"
        Thread(target=self._serve, daemon=True).start()

    def end(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        shutil.rmtree(self._folder)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._target)
                Thread(target=self._ask, args=(client, server), daemon=True).start()
                Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if self.to_cut and b"COMMIT" in data:
                    self.to_cut = False
                    client.shutdown(socket.SHUT_RDWR)
                server.sendall(data)
        # The other side may have closed it.
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError), closing(server), closing(client):
            while data := server.recv(65536):
                client.sendall(data)


def test_a_commit_whose_answer_is_lost_is_not_made_twice(
    server, machine, workload, space, measured_trial
):
    line = Line(server.url)
    with Store(line.url) as impatient, Store(line.url, patience_s=ENOUGH_S) as patient:
        study_id = patient.open_study(machine, workload, Budget(), space)
        line.to_cut = True
        with pytest.raises(StoreError, match="is gone or refuses"):
            impatient.add(study_id, measured_trial)
        line.to_cut = True
        kept = patient.add(study_id, measured_trial)
        assert not line.to_cut
        # It was the answer alone that the first one has lost.
        assert [stored.trial.number for stored in patient.trials()] == [1, kept.number]
        assert patient.trial(kept.number).trial.outcome == measured_trial.outcome
    line.end()
