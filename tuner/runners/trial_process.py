"""Run trials in processes of their own, within deadlines, to measurements or typed failures."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from search_space.config import environment
from search_space.trial import Condition, Failure, FailureKind, Measurement, Peak, Trial
from search_space.units import format_duration, format_size
from tuner.measuring.interleaving import SOCKET, STAYING, WAITING
from tuner.measuring.memory.limits import stop_bytes
from tuner.processes.children import LOST, Children
from tuner.processes.task import log_tail, read_result
from tuner.processes.tree import out_of_memory_kills
from tuner.records.job import Job
from tuner.runners.base import Deadlines
from tuner.runners.watch import TIMED, Watch

POLL_S = 0.05
"""While nothing is timed: how long a trial that has ended, or holds too much, goes unseen. Looking
takes half a percent of a core, and a runaway grows between two looks."""

TIMED_POLL_S = 0.5
"""While calls are timed: looking takes time from one of the cores that they need."""

BAD_ALLOCATION = "std::bad_alloc"
TREE = "held together with the child processes, sampled"
TRIAL = "tuner.measuring.worker:try_config"


class TrialProcess:
    """A trial's process, from its start to the trial that came of it."""

    def __init__(
        self,
        children: Children,
        job: Job,
        deadlines: Deadlines,
        on_phase: Callable[[str], None],
        folder: Path,
        task: str,
    ) -> None:
        self.trial: Trial | None = None
        self.stays = False
        self.is_lost = False
        """Whether it was taken along by the end of the fork server: that says nothing of its
        config, so it is worth another try."""
        self.folder = folder
        self.job, self._deadlines = job, deadlines
        self._started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._began_s = time.monotonic()
        self._kills_before = out_of_memory_kills()
        self._child = children.start(task, folder, job, environment(job.config))
        # Not earlier: the first child waits for the server's imports.
        self._child_began_s = time.monotonic()
        self._watch = Watch(folder, self._child.pid, on_phase)
        self._stop_bytes = stop_bytes(job.budget, job.device)

    @property
    def poll_s(self) -> float:
        """After how long to update it again."""
        return TIMED_POLL_S if self._watch.phase == TIMED else POLL_S

    def wait(self) -> None:
        """Wait for its end, at most until the next update."""
        self._child.wait(self.poll_s)

    def update(self) -> None:
        """Read how far the trial is; once it has ended, or must, it is kept as ``trial``.

        A process that ``stays`` is still alive then.
        """
        has_ended = self._child.wait(0.0) is not None
        self._watch.update()
        self.stays = not has_ended and self._watch.phase == STAYING
        failure = None if has_ended or self.stays else self._reason_to_stop()
        if not (has_ended or self.stays) and failure is None:
            return
        if not self.stays:
            self.close()
        outcome = self._outcome(failure)
        # The calls of the incumbent are made for this trial; those of a race's others are not.
        waited_s = 0.0 if self.job.stays else self._watch.waited_s
        cost_s = time.monotonic() - self._began_s - waited_s
        self.trial = Trial(self.job.config, outcome, cost_s, self._started_at)

    def close(self) -> None:
        """Kill the process tree, if it is still there."""
        self._child.kill()

    def _reason_to_stop(self) -> Failure | None:
        watch, now_s = self._watch, time.monotonic()
        if self._stop_bytes is not None and watch.held_bytes() > self._stop_bytes:
            return _too_much(watch, self._stop_bytes)
        phase_s = self._deadlines.phase_s(watch.phase, self.job.config)
        trial_s = self._deadlines.trial_s + watch.waited_s
        spent_s = now_s - watch.phase_began_s
        is_late = watch.phase != WAITING and spent_s > phase_s
        if is_late:
            deadlines = self._deadlines.widened(watch.others_cores(), watch.cores)
            phase_s = deadlines.phase_s(watch.phase, self.job.config)
            is_late = spent_s > phase_s
        if not is_late and now_s - self._child_began_s <= trial_s:
            return None
        limit_s = format_duration(min(phase_s, self._deadlines.trial_s))
        message = f"{watch.phase} was not done after {limit_s}"
        timeout = Failure(FailureKind.TIMEOUT, message, watch.phase)
        return replace(timeout, conditions=watch.conditions())

    def _outcome(self, stopped: Failure | None) -> Measurement | Failure:
        log = log_tail(self.folder)
        if stopped is not None:
            return replace(stopped, log=log)
        result = read_result(self.folder)
        if result is None:
            status = self._child.status or 0
            self.is_lost = self._child.loss is not None
            # In this order: Windows has no SIGKILL, and no such kills.
            killed = out_of_memory_kills() > self._kills_before and status == -signal.SIGKILL
            gave_up = status == -signal.SIGABRT and BAD_ALLOCATION in log
            failure = _death(status, self._watch, killed or gave_up)
            if self.is_lost and failure.kind is FailureKind.CRASH:
                failure = replace(failure, message=f"{LOST} twice: {self._child.loss}")
            return replace(failure, log=log)
        if "failure" in result:
            facts = result["failure"]
            typed = {"kind": FailureKind(facts["kind"]), "log": log, "conditions": ()}
            return Failure(**{**facts, **typed})
        measurement = _measurement(result["measurement"], self._watch.tree_bytes)
        return replace(measurement, counted=self.job.workload.counted(measurement.images))


@contextmanager
def running(
    children: Children,
    job: Job,
    deadlines: Deadlines,
    on_phase: Callable[[str], None],
    task: str = TRIAL,
    join: Callable[[Path], None] | None = None,
) -> Iterator[TrialProcess]:
    """The running trial of a job; an error or an interrupt kills its process tree.

    ``join`` is given the socket at which the trial will ask for its turns.
    """
    with children.task_folder() as folder:
        if join is not None:
            join(folder / SOCKET)
            job = replace(job, turns=str(folder / SOCKET))
        trial = TrialProcess(children, job, deadlines, on_phase, folder, task)
        try:
            yield trial
        finally:
            trial.close()


def run_trial(
    children: Children,
    job: Job,
    deadlines: Deadlines,
    on_phase: Callable[[str], None],
    task: str = TRIAL,
) -> Trial:
    """Try the config of the job; an interrupt kills the trial's process tree and goes on upward.

    ``task`` is the function that the child calls, as ``module:function``. A trial that was lost
    with the fork server is repeated once.
    """

    def attempt() -> TrialProcess:
        with running(children, job, deadlines, on_phase, task) as trial_process:
            while trial_process.trial is None:
                trial_process.wait()
                trial_process.update()
            return trial_process

    return not_lost(attempt)


def not_lost(attempt: Callable[[], TrialProcess]) -> Trial:
    """The trial of an attempt, or of a second one where the first was lost."""
    ended = attempt()
    if ended.is_lost:
        ended = attempt()
    assert ended.trial is not None
    return ended.trial


def _too_much(watch: Watch, stop: int) -> Failure:
    size, limit = format_size(watch.highest_bytes), format_size(stop)
    message = f"stopped when it held {size} of the host: far over the budget, beyond {limit}"
    kind = FailureKind.HOST_OUT_OF_MEMORY
    return Failure(kind, message, watch.phase, peak_bytes=watch.highest_bytes)


def _death(status: int, watch: Watch, ran_out: bool) -> Failure:
    phase = watch.phase
    if ran_out:
        message = "the process was killed or gave up because the host ran out of memory"
        kind, held_bytes = FailureKind.HOST_OUT_OF_MEMORY, watch.highest_bytes or None
        return Failure(kind, message, phase, peak_bytes=held_bytes)
    if status < 0:
        return Failure(FailureKind.CRASH, f"killed by {signal.Signals(-status).name}", phase)
    return Failure(FailureKind.CRASH, f"ended with exit code {status} and no result", phase)


def _measurement(facts: dict[str, Any], tree_bytes: dict[str, int]) -> Measurement:
    peaks = with_descendants([Peak(**peak) for peak in facts["peaks"]], tree_bytes)
    seconds = {kind: tuple(samples) for kind, samples in facts["seconds"].items() if samples}
    conditions = tuple(Condition(**condition) for condition in facts["conditions"])
    return Measurement(
        seconds,
        tuple(peaks),
        facts["fidelity"],
        conditions,
        facts["work"],
        facts["images"],
        turns={kind: tuple(turns) for kind, turns in facts["turns"].items()},
    )


def with_descendants(peaks: list[Peak], tree_bytes: dict[str, int]) -> list[Peak]:
    """The peaks; on the host, what the trial and its child processes held together if it is more.

    Phases without a peak, such as the comparison of images, are not the config's.
    """
    return [
        replace(peak, source=TREE, peak_bytes=tree_bytes[peak.phase])
        if peak.place == "host" and tree_bytes.get(peak.phase, 0) > peak.peak_bytes
        else peak
        for peak in peaks
    ]
