"""Trials whose processes live side by side and compute in turns: one at a time, call by call.

What slows the machine for longer than a call then slows them all, and their ratios do not feel it.
The controller hands the turn on. A trial's first turn lasts until it is warm, each later one a
call, and its last until its process has ended.
"""

from __future__ import annotations

import json
import select
import socket
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from search_space.trial import TURN, Condition

WAITING = "turn"
"""The phase of a trial that waits for its turn."""

LEAST_TURNS = 3
LIMIT_S = 30.0
"""Beyond so many seconds for each trial no further turn begins, once there are three."""

POSSIBLE = hasattr(socket, "AF_UNIX")


class Turns(Protocol):
    """How a trial's calls go with those of others."""

    def another(self, settled: bool) -> bool:
        """Whether to make another call; ``settled`` says whether the trial itself needs none."""

    def seen(self) -> tuple[Condition, ...]:
        """Which turn this call is, as conditions of it."""


class Alone:
    """A trial that has the machine for itself."""

    def another(self, settled: bool) -> bool:
        """Until it needs no more."""
        return not settled

    def seen(self) -> tuple[Condition, ...]:
        """Nothing."""
        return ()


class InTurns:
    """A trial that asks for its turn at a socket."""

    def __init__(self, place: str, enter: Callable[[str], None]) -> None:
        self._enter = enter
        self._turn_s = 0.0
        enter(WAITING)
        # Open until the process ends: that is what ends its last turn.
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(place)
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self._told()

    def another(self, settled: bool) -> bool:
        """Until no trial needs more: their calls are compared turn by turn."""
        self._enter(WAITING)
        self._socket.sendall(json.dumps({"settled": settled}).encode() + b"\n")
        return self._told()

    def seen(self) -> tuple[Condition, ...]:
        """When all began this turn, which no other turn shares."""
        return (Condition(TURN, self._turn_s),)

    def _told(self) -> bool:
        answer: dict[str, Any] = json.loads(self._lines.readline())
        self._turn_s = answer["turn_s"]
        return bool(answer["go"])


def turns_of(place: str | None, enter: Callable[[str], None]) -> Turns:
    """The turns of a trial, once its first one has come; without a socket it is alone."""
    return Alone() if place is None else InTurns(place, enter)


class _Gate:
    """Where one trial waits."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.settled = False
        self.turns = 0
        self._told = b""
        self._connection: socket.socket | None = None
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(place)
        self._listener.listen(1)

    def answers(self, timeout_s: float) -> bool:
        """Whether there is something to be read, at the latest after this time."""
        return bool(select.select([self._connection or self._listener], [], [], timeout_s)[0])

    def read(self) -> bool | None:
        """Whether the trial waits for its next turn; None where it has gone."""
        if self._connection is None:
            self._connection, _ = self._listener.accept()
            return False
        received = b""
        with suppress(OSError):
            received = self._connection.recv(4096)
        if not received:
            return None
        self._told += received
        if not self._told.endswith(b"\n"):
            return False
        self.settled, self._told = json.loads(self._told)["settled"], b""
        return True

    def tell(self, answer: dict[str, Any]) -> None:
        """Answer the trial; one that has gone is noticed by the next read."""
        assert self._connection is not None
        with suppress(OSError):
            self._connection.sendall(json.dumps(answer).encode() + b"\n")

    def close(self) -> None:
        """Nobody waits here any more."""
        self._listener.close()
        if self._connection is not None:
            self._connection.close()


class Turnstile:
    """Hands the turn from one trial to the next; a context manager.

    ``places`` are the sockets at which so many trials ask for it.
    """

    def __init__(self, trials: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tune-")
        self._gates = [_Gate(str(Path(self._folder.name) / f"{place}")) for place in range(trials)]
        self._waiting = deque(self._gates)
        self._holder: _Gate | None = None
        self._begun_s: list[float] = []
        self._over = False

    @property
    def places(self) -> list[str]:
        """The socket of each trial."""
        return [gate.place for gate in self._gates]

    def __enter__(self) -> Turnstile:
        return self

    def __exit__(self, *raised: object) -> None:
        for gate in self._gates:
            gate.close()
        self._folder.cleanup()

    def step(self, timeout_s: float) -> None:
        """Hand the turn on once it is given back, or wait for so long in vain."""
        if self._holder is None and not self._next():
            time.sleep(timeout_s)
            return
        holder = self._holder
        assert holder is not None
        if not holder.answers(timeout_s):
            return
        waits = holder.read()
        if waits is False and holder.turns == 0:
            # It was slower to start than the turn was to come.
            self._give(holder)
        elif waits or waits is None:
            self._holder = None
            if waits:
                self._waiting.append(holder)
            self._next()

    def leave(self, place: int) -> None:
        """A trial has ended."""
        gate = self._gates[place]
        if gate is self._holder:
            self._holder = None
        elif gate in self._waiting:
            self._waiting.remove(gate)

    def _next(self) -> bool:
        if not self._waiting:
            return False
        self._holder = self._waiting.popleft()
        if self._holder.turns:
            self._give(self._holder)
        return True

    def _give(self, gate: _Gate) -> None:
        if gate.turns == len(self._begun_s):
            self._over = self._over or self._enough()
            self._begun_s.append(time.time())
        gate.tell({"go": gate.turns == 0 or not self._over, "turn_s": self._begun_s[gate.turns]})
        gate.turns += 1

    def _enough(self) -> bool:
        """Whether no further turn is due, asked before any trial begins it."""
        made = len(self._begun_s) - 1
        if made < 1:
            return False
        there = [gate for gate in self._gates if gate is self._holder or gate in self._waiting]
        if all(gate.settled for gate in there):
            return True
        return made >= LEAST_TURNS and time.time() - self._begun_s[1] > LIMIT_S * len(there)
