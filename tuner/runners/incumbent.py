"""The incumbent's process stays alive, and its calls are interleaved with those of a trial.

So nothing is loaded anew: it waits at its gate, where it takes no time of a core, and makes a call
ahead of each of the trial's. One that has gone, or takes too long, is done without.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from search_space.config import Config
from search_space.trial import Trial
from tuner.processes.children import Children
from tuner.records.job import Job
from tuner.runners.base import Deadlines
from tuner.runners.gate import Gate
from tuner.runners.trial_process import TRIAL, TrialProcess, not_lost, running

SLOWEST = 20.0
"""The incumbent is given up where a call takes this many times what it is known by: it hangs, or
its ratios say nothing any more. Calls beside a neighbour were 10 times slower, some 40 times."""

SLACK_S = 10.0
"""Granted on top: calls of a tenth of a second may wait longer than that for their core."""


@dataclass(frozen=True)
class Living:
    """A process that has stayed alive after its trial, to make calls of its config."""

    config: Config
    gate: Gate
    resources: ExitStack

    def end(self) -> None:
        """Kill it and remove its folder."""
        self.resources.close()


class _Beside:
    """Hands the turn between a trial and the incumbent, if there is one."""

    def __init__(self, gate: Gate, incumbent: Living | None, limit_s: float) -> None:
        self.incumbent = incumbent
        self._gate = gate
        self._limit_s = limit_s
        self._called_at_s: float | None = None
        self._is_over = False

    def step(self, timeout_s: float) -> None:
        """Wait for whoever computes, at most this long, and hand the turn on."""
        if self.incumbent is not None and self._called_at_s is not None:
            self._await_incumbent(self.incumbent, timeout_s)
        elif self._gate.has_gone:
            time.sleep(timeout_s)
        elif select.select([self._gate], [], [], timeout_s)[0]:
            self._gate.read()
            # After its last turn it waits as an incumbent does.
            if self._gate.is_waiting and not self._is_over:
                self._answer()

    def _answer(self) -> None:
        turn = self._gate.turns - 1
        if turn < 0:
            self._gate.answer(True, turn)
        elif self._gate.settled:
            self._is_over = True
            self._gate.answer(False, turn)
        elif self.incumbent is None:
            self._gate.answer(True, turn)
        else:
            self._called_at_s = time.monotonic()
            self.incumbent.gate.answer(True, turn)

    def _await_incumbent(self, incumbent: Living, timeout_s: float) -> None:
        assert self._called_at_s is not None
        gate = incumbent.gate
        if select.select([gate], [], [], timeout_s)[0]:
            gate.read()
        is_late = time.monotonic() - self._called_at_s > self._limit_s
        if not (gate.is_waiting or gate.has_gone or is_late):
            return
        self._called_at_s = None
        call_s = gate.call_s if gate.is_waiting else None
        if call_s is None:
            incumbent.end()
            self.incumbent = None
        self._gate.answer(True, self._gate.turns - 1, call_s)


class Incumbent:
    """Runs trials beside the process that an earlier one has left alive; a context manager.

    Which of the last trial and the one before stays is what the next job asks for.
    """

    def __init__(self) -> None:
        self._living: list[Living] = []

    def __enter__(self) -> Incumbent:
        return self

    def __exit__(self, *raised: object) -> None:
        self.release()

    def release(self, *, but: Config | None = None) -> None:
        """End all processes that are still alive, but those of this config."""
        going = [living for living in self._living if living.config != but]
        self._living = [living for living in self._living if living.config == but]
        for living in going:
            living.end()

    def run(
        self,
        children: Children,
        job: Job,
        deadlines: Deadlines,
        on_phase: Callable[[str], None],
        task: str = TRIAL,
    ) -> Trial:
        """The trial of a job that ``stays``, beside the config that it asks for if that lives.

        A trial that was lost with the fork server is repeated once, alone: so was the incumbent.
        """
        return not_lost(lambda: self._attempt(children, job, deadlines, on_phase, task))

    def _attempt(
        self,
        children: Children,
        job: Job,
        deadlines: Deadlines,
        on_phase: Callable[[str], None],
        task: str,
    ) -> TrialProcess:
        incumbent = next((living for living in self._living if living.config == job.beside), None)
        limit_s = SLACK_S + SLOWEST * (job.beside_s or 0.0)
        with ExitStack() as stack:
            gates: list[Gate] = []

            def join(place: Path) -> None:
                gates.append(Gate(place))
                stack.callback(gates[0].close)

            trial_process = stack.enter_context(
                running(children, job, deadlines, on_phase, task, join)
            )
            (gate,) = gates
            beside = _Beside(gate, incumbent, limit_s)
            while trial_process.trial is None:
                beside.step(trial_process.poll_s)
                trial_process.update()
            if incumbent is not None and beside.incumbent is None:
                self._living.remove(incumbent)
            if trial_process.is_lost:
                self.release()
            while trial_process.stays and not (gate.is_waiting or gate.has_gone):
                beside.step(trial_process.poll_s)
            if trial_process.stays:
                self._living.append(Living(job.config, gate, stack.pop_all()))
            return trial_process
