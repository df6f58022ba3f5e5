"""Run one trial in a process of its own, within deadlines, to a measurement or a typed failure."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from search_space.knob import Stage
from search_space.space import environment, steps
from search_space.trial import Condition, Config, Failure, FailureKind, Measurement, Peak, Trial
from search_space.units import format_duration, format_size
from tuner.children import Child, Children, log_tail, read_result, task_folder
from tuner.host_memory import kept_bytes, of_descendants
from tuner.memory import counted_bytes
from tuner.memory_limits import stop_bytes
from tuner.noise import Counters, seen_between
from tuner.processes import out_of_memory_kills
from tuner.worker import Job

POLL_S = 0.05
TIMED_POLL_S = 0.5
"""While calls are timed: looking takes time from one of the cores that they need."""
TREE_POLL_S = 0.25
"""How often the tree is sampled; once a phase has shown a child process, at every look."""
STARTING = "start"
TIMED = "steady"
SIGKILL = 9
SIGABRT = 6
BAD_ALLOCATION = "std::bad_alloc"
TREE = "held together with the child processes, sampled"
TRIAL = "tuner.worker:try_config"


@dataclass(frozen=True)
class Deadlines:
    """How long a trial may take: in all, and for a call that nothing excuses for being slow."""

    trial_s: float
    call_s: float | None = None

    def phase_s(self, phase: str, config: Config) -> float:
        """How long a phase may take: the first calls of an engine may compile, others may not."""
        compiles = any(step.stage is Stage.ENGINE for step in steps(config))
        calls = {"record", "steady"}
        if not compiles:
            calls |= {"first_call", "second_call", "warm_up"}
        if self.call_s is None or phase not in calls:
            return self.trial_s
        return min(self.call_s, self.trial_s)


class Watch:
    """What is seen of a trial's process from outside: its phase, and the memory of its tree."""

    def __init__(self, folder: Path, pid: int, on_phase: Callable[[str], None]) -> None:
        self.phase = STARTING
        self.phase_began_s = time.monotonic()
        self.tree_bytes: dict[str, int] = {}
        self.highest_bytes = 0
        self._descendants_bytes = 0
        self._counters = Counters(os.getpid())
        self._began = self._counters.read()
        self._events = folder / "events.jsonl"
        self._offset = 0
        self._pid = pid
        self._on_phase = on_phase
        self._sampled_s = 0.0

    def look(self) -> None:
        """Read new events; sample the tree, except while calls are timed."""
        for event in self._new_events():
            self.phase, self.phase_began_s = event["phase"], time.monotonic()
            self._on_phase(self.phase)
        # A compiler grows and is gone within half a second.
        every_s = 0.0 if self.phase in self.tree_bytes else TREE_POLL_S
        if self.phase != TIMED and time.monotonic() - self._sampled_s > every_s:
            self._sampled_s = time.monotonic()
            self._sample_tree()

    def conditions(self) -> tuple[Condition, ...]:
        """What the machine has done beside the trial since it began."""
        return seen_between(self._began, self._counters.read(), self._counters.cores)

    def _new_events(self) -> list[dict[str, Any]]:
        if not self._events.exists():
            return []
        with self._events.open("rb") as file:
            file.seek(self._offset)
            complete, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(complete + newline)
        return [json.loads(line) for line in complete.splitlines()]

    def _sample_tree(self) -> None:
        self._descendants_bytes = of_descendants(self._pid)
        if self._descendants_bytes:
            now_bytes = counted_bytes(self._pid, self.phase) + self._descendants_bytes
            known = self.tree_bytes.get(self.phase, 0)
            self.tree_bytes[self.phase] = max(known, now_bytes)

    def held_bytes(self) -> int:
        """What the trial's tree holds of the host now, as far as it is still there."""
        now_bytes = kept_bytes(self._pid) + self._descendants_bytes
        self.highest_bytes = max(self.highest_bytes, now_bytes)
        return now_bytes


def run_trial(
    children: Children,
    job: Job,
    deadlines: Deadlines,
    on_phase: Callable[[str], None],
    task: str = TRIAL,
) -> Trial:
    """Try the config of the job; an interrupt kills the trial's process tree and goes on upward.

    ``task`` is the function that the child calls, as ``module:function``.
    """
    started_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    began_s = time.monotonic()
    with task_folder() as folder:
        outcome = _outcome(children, job, deadlines, on_phase, folder, task)
    return Trial(dict(job.config), outcome, time.monotonic() - began_s, started_at)


def _outcome(
    children: Children,
    job: Job,
    deadlines: Deadlines,
    on_phase: Callable[[str], None],
    folder: Path,
    task: str,
) -> Measurement | Failure:
    kills_before = out_of_memory_kills()
    child = children.start(task, folder, job, environment(job.config))
    watch = Watch(folder, child.pid, on_phase)
    try:
        stopped = _wait(child, watch, deadlines, job)
    finally:
        if child.status is None:
            child.kill()
    log = log_tail(folder)
    if stopped is not None:
        return replace(stopped, log=log)
    result = read_result(folder)
    if result is None:
        killed = child.status == -SIGKILL and out_of_memory_kills() > kills_before
        gave_up = child.status == -SIGABRT and BAD_ALLOCATION in log
        return replace(_death(child.status or 0, watch, killed or gave_up), log=log)
    if "failure" in result:
        facts = result["failure"]
        typed = {"kind": FailureKind(facts["kind"]), "log": log, "conditions": ()}
        return Failure(**{**facts, **typed})
    return _measurement(result["measurement"], watch.tree_bytes)


def _wait(child: Child, watch: Watch, deadlines: Deadlines, job: Job) -> Failure | None:
    began_s = time.monotonic()
    stop = stop_bytes(job.budget, job.device)
    while child.wait(TIMED_POLL_S if watch.phase == TIMED else POLL_S) is None:
        watch.look()
        if stop is not None and watch.held_bytes() > stop:
            return _too_much(watch, stop)
        now_s = time.monotonic()
        phase_s = deadlines.phase_s(watch.phase, job.config)
        if now_s - watch.phase_began_s > phase_s or now_s - began_s > deadlines.trial_s:
            limit_s = min(phase_s, deadlines.trial_s)
            message = f"{watch.phase} was not done after {format_duration(limit_s)}"
            timeout = Failure(FailureKind.TIMEOUT, message, watch.phase)
            return replace(timeout, conditions=watch.conditions())
    watch.look()
    return None


def _too_much(watch: Watch, stop: int) -> Failure:
    held, limit = format_size(watch.highest_bytes), format_size(stop)
    message = f"stopped when it held {held} of the host: far over the budget, beyond {limit}"
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
    own = [Peak(**peak) for peak in facts["peaks"]]
    peaks = with_descendants(own, tree_bytes)
    seconds = {kind: tuple(samples) for kind, samples in facts["seconds"].items() if samples}
    conditions = tuple(Condition(**condition) for condition in facts["conditions"])
    return Measurement(seconds, tuple(peaks), facts["fidelity"], conditions, facts["work"])


def with_descendants(peaks: list[Peak], tree_bytes: dict[str, int]) -> list[Peak]:
    """The peaks; on the host, what the trial and its child processes held together if it is more.

    Phases without a peak, such as the comparison of images, are not the config's.
    """
    found = []
    for peak in peaks:
        together = tree_bytes.get(peak.phase, 0) if peak.place == "host" else 0
        more = together > peak.peak_bytes
        found.append(replace(peak, source=TREE, peak_bytes=together) if more else peak)
    return found
