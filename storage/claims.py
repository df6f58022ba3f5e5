"""What a run measures now is claimed, so that runs that share a store measure nothing twice."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any
from uuid import uuid4

import psutil
from sqlalchemy import Connection, delete, select, update

from search_space.errors import StoreError
from storage.schema import claim
from storage.store import Store
from storage.writing import INSERTS

BEAT_S = 10.0
"""How often a run says that it lives: a write of a millisecond, which no trial feels."""

LIMIT_S = 90.0
"""After so long without a word a run counts as ended. One that lives may be silent while a locked
store is waited for (30 s) or one that fails is tried again (30 s); a trial takes minutes, so that
waiting longer for a dead run would cost one."""

POLL_S = 0.5
"""How often a run that waits looks again: short beside a trial."""


@dataclass(frozen=True)
class Claim:
    """A row: who claims what, and when it last said that it lives."""

    subject: str
    token: str
    host: str
    pid: int
    beat_at: str

    @property
    def is_of_the_dead(self) -> bool:
        """Whether its process is known to have ended; of another host's nothing is known."""
        if self.host != this_host():
            return False
        try:
            return bool(psutil.Process(self.pid).status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True


class Claims:
    """The claims of one run; a context manager, which keeps them alive and drops them at its end.

    A store in memory is nobody else's: there everything can be claimed.
    """

    def __init__(self, store: Store, beat_s: float = BEAT_S, limit_s: float = LIMIT_S) -> None:
        self._store, self._beat_s, self._limit_s = store, beat_s, limit_s
        self._token = uuid4().hex
        self._ended = Event()
        self._lock = Lock()
        self._beats: dict[str, tuple[str, float]] = {}
        """By token: the last sign of life, and since when it is the last, by our own clock."""
        self._thread = Thread(target=self._live, name="claims", daemon=True)

    def __enter__(self) -> Claims:
        if self._store.is_shared:
            self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._ended.set()
        if not self._thread.is_alive():
            return
        with suppress(StoreError):
            self._store.write(self._remove(claim.c.token == self._token), patient=False)

    def take(self, subject: str) -> bool:
        """Whether the subject is ours now; False while another run that lives has it."""
        if not self._store.is_shared:
            return True
        holder = self._store.write(lambda connection: self._inserted(connection, subject))
        while holder.token != self._token:
            if not (holder.is_of_the_dead or self._is_silent(holder)):
                return False
            is_void = (claim.c.subject == subject) & (claim.c.token == holder.token)
            self._store.write(self._remove(is_void))
            holder = self._store.write(lambda connection: self._inserted(connection, subject))
        return True

    def drop(self, subject: str) -> None:
        """Give the subject up; what fails here is made good at the end, or by who finds it."""
        is_ours = (claim.c.subject == subject) & (claim.c.token == self._token)
        if self._store.is_shared:
            with suppress(StoreError):
                self._store.write(self._remove(is_ours), patient=False)

    @contextmanager
    def in_turn(self, subject: str, on_wait: Callable[[], None]) -> Iterator[None]:
        """Hold a subject, once whoever has it is done; where that takes time it is told."""
        if not self.take(subject):
            on_wait()
            while not self.take(subject):
                time.sleep(POLL_S)
        with self.held(subject):
            yield

    @contextmanager
    def held(self, subject: str) -> Iterator[None]:
        """Hold a subject that was taken, and drop it."""
        try:
            yield
        finally:
            self.drop(subject)

    def _inserted(self, connection: Connection, subject: str) -> Claim:
        """Whose the subject is: ours, unless somebody was first."""
        row = {"subject": subject, "token": self._token, "host": this_host(), "pid": os.getpid()}
        new = INSERTS[connection.dialect.name](claim).values(row | {"beat_at": _now()})
        holder = None
        while holder is None:
            # It may be dropped between the two.
            connection.execute(new.on_conflict_do_nothing())
            query = select(claim).where(claim.c.subject == subject)
            holder = connection.execute(query).mappings().one_or_none()
        return Claim(**holder)

    @staticmethod
    def _remove(condition: Any) -> Any:
        return lambda connection: connection.execute(delete(claim).where(condition))

    def _live(self) -> None:
        while not self._ended.wait(self._beat_s):
            with suppress(StoreError):
                for each in self._store.write(self._beat, patient=False):
                    self._is_silent(each)

    def _beat(self, connection: Connection) -> list[Claim]:
        own = update(claim).where(claim.c.token == self._token)
        connection.execute(own.values(beat_at=_now()))
        return [Claim(**row) for row in connection.execute(select(claim)).mappings()]

    def _is_silent(self, other: Claim) -> bool:
        # By what changes here, for the clocks of two hosts may differ, and one may be set.
        now_s = time.monotonic()
        with self._lock:
            beat_at, since_s = self._beats.get(other.token, ("", now_s))
            if beat_at != other.beat_at:
                self._beats[other.token] = (other.beat_at, now_s)
                return False
        return now_s - since_s > self._limit_s


def this_host() -> str:
    """What tells apart the places in which a process has its number: hosts, boots, containers."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
