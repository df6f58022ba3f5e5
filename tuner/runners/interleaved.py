"""The controller's side of interleaved calls: it hands the turn from one trial to the next.

Each trial has a socket. Once all have come there, one after the other is told to go, and asks again
when it is warm and after each call. A trial whose process ends gives its turn back, however it
ended.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from search_space.trial import Trial
from tuner.measuring.interleaving import SOCKET
from tuner.processes.children import Children
from tuner.records.job import Job
from tuner.runners.base import Deadlines
from tuner.runners.trial_process import TRIAL, running

LEAST_TURNS = 3
"""As many as a trial has samples at least: from three calm turns on these alone count."""

LIMIT_S = 30.0
"""For each trial, as long as its steady calls may take where it is alone (`STEADY_LIMIT_S`)."""


class _Gate:
    """Where one trial waits: it comes, asks for one turn after the other, and goes."""

    def __init__(self, place: Path) -> None:
        self.turns = 0
        self.settled = False
        self.asks = False
        self.gone = False
        self._said = b""
        self._connection: socket.socket | None = None
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(place))
        self._listener.listen(1)

    @property
    def came(self) -> bool:
        """Whether the trial has come."""
        return self._connection is not None

    def fileno(self) -> int:
        """What to wait at for what the trial says."""
        return (self._connection or self._listener).fileno()

    def read(self) -> None:
        """Take in what the trial says."""
        if self._connection is None:
            self._connection, _ = self._listener.accept()
            self.asks = True
            return
        received = b""
        with suppress(OSError):
            received = self._connection.recv(4096)
        self.gone = not received
        self._said += received
        if self._said.endswith(b"\n"):
            self.asks, self.settled = True, json.loads(self._said)["settled"]
            self._said = b""

    def answer(self, goes: bool, turn: int) -> None:
        """Tell the trial whether to go on; one that has gone is noticed by the next read."""
        assert self._connection is not None
        self.asks = False
        self.turns += 1
        with suppress(OSError):
            self._connection.sendall(json.dumps({"go": goes, "turn": turn}).encode() + b"\n")

    def close(self) -> None:
        """Nobody waits here any more."""
        self._listener.close()
        if self._connection is not None:
            self._connection.close()


class Turnstile:
    """Hands the turn from one trial to the next; a context manager.

    The turns of a call each are numbered from ``first_turn``, for all trials alike.
    No turn begins ``limit_s`` seconds for each trial after the first call, once there were three.
    """

    def __init__(self, limit_s: float = LIMIT_S, first_turn: int = 0) -> None:
        self._gates: dict[Path, _Gate] = {}
        self._waiting: deque[_Gate] = deque()
        self._holder: _Gate | None = None
        self._begun = 0
        self._first_turn = first_turn
        self._calls_began_s: float | None = None
        self._over = False
        self._limit_s = limit_s

    def add(self, place: Path) -> None:
        """A trial will ask for its turns at this socket; all are added before the first step."""
        self._gates[place] = _Gate(place)
        self._waiting.append(self._gates[place])

    def __enter__(self) -> Turnstile:
        return self

    def __exit__(self, *raised: object) -> None:
        for gate in self._gates.values():
            gate.close()

    def step(self, timeout_s: float) -> None:
        """Hand the turn on once it is given back, or wait for so long in vain."""
        self._hand_on()
        heard = self._coming() or [gate for gate in (self._holder,) if gate is not None]
        if not heard:
            time.sleep(timeout_s)
        for gate in select.select(heard, [], [], timeout_s)[0]:
            gate.read()
        if self._holder is not None and (self._holder.gone or self._holder.asks):
            if not self._holder.gone:
                self._waiting.append(self._holder)
            self._holder = None
        self._hand_on()

    def leave(self, place: Path) -> None:
        """A trial has ended."""
        gate = self._gates[place]
        if gate is self._holder:
            self._holder = None
        elif gate in self._waiting:
            self._waiting.remove(gate)

    def _there(self) -> list[_Gate]:
        return [gate for gate in self._gates.values() if gate in (self._holder, *self._waiting)]

    def _coming(self) -> list[_Gate]:
        # A process that is still starting would take time from the one whose turn it is.
        return [gate for gate in self._there() if not gate.came]

    def _hand_on(self) -> None:
        if self._holder is not None or not self._waiting or self._coming():
            return
        gate = self._holder = self._waiting.popleft()
        if gate.turns == self._begun:
            self._begin_turn()
        # The turn in which all get warm has no call to be numbered.
        gate.answer(gate.turns == 0 or not self._over, self._first_turn + gate.turns - 1)

    def _begin_turn(self) -> None:
        """All begin a turn: the one in which they get warm, or one of a call each, or the last."""
        made = self._begun - 1
        if made == 0:
            self._calls_began_s = time.monotonic()
        self._over = self._over or (made > 0 and self._enough(made))
        self._begun += 1

    def _enough(self, made: int) -> bool:
        there = self._there()
        assert self._calls_began_s is not None
        spent_s = time.monotonic() - self._calls_began_s
        late = made >= LEAST_TURNS and spent_s > self._limit_s * len(there)
        return late or all(gate.settled for gate in there)


def run_interleaved(
    children: Children,
    jobs: Sequence[Job],
    deadlines: Deadlines,
    on_phase: Callable[[Job, str], None],
    task: str = TRIAL,
    limit_s: float = LIMIT_S,
    first_turn: int = 0,
) -> Iterator[Trial]:
    """Try the configs of all jobs side by side, one computing at a time, call by call.

    Yields each trial when it is over. All that they hold must fit the host, and it must be
    ``possible`` to take turns. For ``limit_s`` and ``first_turn`` see the turnstile.
    """
    with Turnstile(limit_s, first_turn) as turnstile, ExitStack() as stack:
        left = [
            stack.enter_context(
                running(children, job, deadlines, partial(on_phase, job), task, turnstile.add)
            )
            for job in jobs
        ]
        while left:
            turnstile.step(max(one.patience_s for one in left))
            for one in tuple(left):
                one.look()
                if one.trial is not None:
                    turnstile.leave(one.folder / SOCKET)
                    left.remove(one)
                    yield one.trial
