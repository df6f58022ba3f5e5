"""Trials in processes on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from search_space.trial import Trial
from tuner.processes.children import Children
from tuner.records.job import Job
from tuner.runners.base import Deadlines
from tuner.runners.device_lock import DeviceLock
from tuner.runners.incumbent import Incumbent
from tuner.runners.interleaved import run_interleaved
from tuner.runners.trial_process import run_trial

TAKES_TURNS = "another run measures"
"""The phase of a trial while another run of this user has the device."""


class LocalRunner:
    """Runs the trials of a run; a context manager, which ends what has stayed alive."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._incumbent = Incumbent()

    def __enter__(self) -> LocalRunner:
        return self

    def __exit__(self, *raised: object) -> None:
        self._incumbent.release()

    def __call__(self, job: Job, deadlines: Deadlines, on_phase: Callable[[str], None]) -> Trial:
        """The trial of a job that has the machine for itself, or computes beside the incumbent."""
        self._incumbent.release(but=job.beside)
        with DeviceLock(job.device).held(partial(on_phase, TAKES_TURNS)):
            if job.stays:
                return self._incumbent.run(self._children, job, deadlines, on_phase)
            return run_trial(self._children, job, deadlines, on_phase)

    def interleaved(
        self,
        jobs: Sequence[Job],
        deadlines: Deadlines,
        on_phase: Callable[[Job, str], None],
        first_turn: int,
    ) -> Iterator[Trial]:
        """The trials of jobs with interleaved calls, as they end."""
        self._incumbent.release()
        first = jobs[0]
        with DeviceLock(first.device).held(partial(on_phase, first, TAKES_TURNS)):
            yield from run_interleaved(
                self._children, jobs, deadlines, on_phase, first_turn=first_turn
            )
