"""The controller's side of interleaved calls: it hands the turn from one trial to the next.

Each trial has a socket. Once all have connected, one after the other gets a turn. A trial asks for
the next when it is warm and after each call. A trial whose process ends gives its turn back,
however it ended.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from search_space.trial import Trial
from tuner.measuring.interleaving import SOCKET
from tuner.processes.children import Children
from tuner.records.job import Job
from tuner.runners.base import Deadlines
from tuner.runners.gate import Gate
from tuner.runners.trial_process import TRIAL, TrialProcess, running

LEAST_TURNS = 3
"""As many as a trial has samples at least: from three calm turns on these alone count."""

LIMIT_S = 10.0
"""For each trial: calls of a second make ten turns, longer ones at least three. With thirty a round
of five entrants would take two minutes more, and the next round tells more than further turns."""


class Turnstile:
    """Hands the turn from one trial to the next; a context manager.

    The calls of one turn, one of each trial, have one number; the first is ``first_turn``. After
    three turns no further one begins once ``limit_s`` seconds for each trial have passed.
    """

    def __init__(self, limit_s: float = LIMIT_S, first_turn: int = 0) -> None:
        self._gates: dict[Path, Gate] = {}
        self._waiting: deque[Gate] = deque()
        self._holder: Gate | None = None
        self._turns_begun = 0
        self._first_turn = first_turn
        self._calls_began_s: float | None = None
        self._over = False
        self._limit_s = limit_s

    @property
    def next_turn(self) -> int:
        """The number of the first turn that has not begun."""
        return self._first_turn + max(0, self._turns_begun - 1)

    def add(self, place: Path) -> None:
        """A trial will ask for its turns at this socket; all are added before the first step."""
        self._gates[place] = Gate(place)
        self._waiting.append(self._gates[place])

    def __enter__(self) -> Turnstile:
        return self

    def __exit__(self, *raised: object) -> None:
        for gate in self._gates.values():
            gate.close()

    def step(self, timeout_s: float) -> None:
        """Hand the turn on once it is given back, or wait at most this long."""
        self._hand_on()
        gates = self._coming() or [gate for gate in (self._holder,) if gate is not None]
        if not gates:
            time.sleep(timeout_s)
        for gate in select.select(gates, [], [], timeout_s)[0]:
            gate.read()
        if self._holder is not None and (self._holder.has_gone or self._holder.is_waiting):
            if not self._holder.has_gone:
                self._waiting.append(self._holder)
            self._holder = None
        self._hand_on()

    def leave(self, place: Path) -> None:
        gate = self._gates[place]
        if gate is self._holder:
            self._holder = None
        elif gate in self._waiting:
            self._waiting.remove(gate)

    def _open_gates(self) -> list[Gate]:
        return [gate for gate in self._gates.values() if gate in (self._holder, *self._waiting)]

    def _coming(self) -> list[Gate]:
        # A process that is still starting would take time from the one whose turn it is.
        return [gate for gate in self._open_gates() if not gate.has_come]

    def _hand_on(self) -> None:
        if self._holder is not None or not self._waiting or self._coming():
            return
        gate = self._holder = self._waiting.popleft()
        if gate.turns == self._turns_begun:
            self._begin_turn()
        # The turn in which all get warm has no call to be numbered.
        gate.answer(gate.turns == 0 or not self._over, self._first_turn + gate.turns - 1)

    def _begin_turn(self) -> None:
        """All begin a turn: the one in which they get warm, or one of a call each, or the last."""
        calls_made = self._turns_begun - 1
        if calls_made == 0:
            self._calls_began_s = time.monotonic()
        self._over = self._over or (calls_made > 0 and self._enough(calls_made))
        self._turns_begun += 1

    def _enough(self, calls_made: int) -> bool:
        gates = self._open_gates()
        assert self._calls_began_s is not None
        spent_s = time.monotonic() - self._calls_began_s
        is_late = calls_made >= LEAST_TURNS and spent_s > self._limit_s * len(gates)
        return is_late or all(gate.settled for gate in gates)


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
    ``possible`` to take turns. For ``limit_s`` and ``first_turn`` see the turnstile. Trials that
    were lost with the fork server are repeated once, in turns of their own.
    """
    for is_last in (False, True):
        lost: list[Job] = []
        with Turnstile(limit_s, first_turn) as turnstile:
            for trial_process in _interleaved(children, jobs, deadlines, on_phase, task, turnstile):
                if trial_process.is_lost and not is_last:
                    lost.append(trial_process.job)
                else:
                    assert trial_process.trial is not None
                    yield trial_process.trial
            first_turn = turnstile.next_turn
        if not lost:
            return
        jobs = lost


def _interleaved(
    children: Children,
    jobs: Sequence[Job],
    deadlines: Deadlines,
    on_phase: Callable[[Job, str], None],
    task: str,
    turnstile: Turnstile,
) -> Iterator[TrialProcess]:
    """The trials as they end; the folder of each goes with it."""
    with ExitStack() as stack:
        running_trials: dict[TrialProcess, ExitStack] = {}
        for job in jobs:
            own = stack.enter_context(ExitStack())
            told = partial(on_phase, job)
            started = running(children, job, deadlines, told, task, turnstile.add)
            running_trials[own.enter_context(started)] = own
        while running_trials:
            turnstile.step(max(trial_process.poll_s for trial_process in running_trials))
            for trial_process in tuple(running_trials):
                trial_process.update()
                if trial_process.trial is not None:
                    turnstile.leave(trial_process.folder / SOCKET)
                    running_trials.pop(trial_process).close()
                    yield trial_process
