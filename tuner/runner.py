"""Run one trial in a process of its own, within deadlines, to a measurement or a typed failure."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from search_space.knob import Stage
from search_space.space import environment, steps
from search_space.trial import Config, Failure, FailureKind, Measurement, Peak, Trial
from search_space.units import format_duration
from tuner.children import Child, Children, log_tail, read_result, task_folder
from tuner.processes import out_of_memory_kills
from tuner.worker import Job

POLL_S = 0.05
TREE_POLL_S = 0.25
STARTING = "start"
SIGKILL = 9
TRIAL = "tuner.worker:try_config"


@dataclass(frozen=True)
class Deadlines:
    """How long a trial may take: in all, and for a call that nothing excuses for being slow."""

    trial_s: float
    call_s: float | None = None

    def phase_s(self, phase: str, config: Config) -> float:
        """How long a phase may take: the first calls of an engine may compile, others may not."""
        compiles = any(step.stage is Stage.ENGINE for step in steps(config))
        calls = {"record", "steady"} if compiles else {"record", "first_call", "warm_up", "steady"}
        if self.call_s is None or phase not in calls:
            return self.trial_s
        return min(self.call_s, self.trial_s)


class Watch:
    """What is seen of a trial's process from outside: its phase, and the memory of its tree."""

    def __init__(self, folder: Path, pid: int, on_phase: Callable[[str], None]) -> None:
        self.phase = STARTING
        self.phase_began_s = time.monotonic()
        self.tree_bytes = 0
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
        if self.phase != "steady" and time.monotonic() - self._sampled_s > TREE_POLL_S:
            self._sampled_s = time.monotonic()
            self._sample_tree()

    def _new_events(self) -> list[dict[str, Any]]:
        if not self._events.exists():
            return []
        with self._events.open("rb") as file:
            file.seek(self._offset)
            complete, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(complete + newline)
        return [json.loads(line) for line in complete.splitlines()]

    def _sample_tree(self) -> None:
        import psutil

        try:
            process = psutil.Process(self._pid)
            children = process.children(recursive=True)
            sizes = [member.memory_info().rss for member in (process, *children)]
        except psutil.NoSuchProcess:
            return
        if children:
            self.tree_bytes = max(self.tree_bytes, sum(sizes))


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
        timeout = _wait(child, watch, deadlines, job.config)
    finally:
        if child.status is None:
            child.kill()
    log = log_tail(folder)
    if timeout is not None:
        return replace(timeout, log=log)
    result = read_result(folder)
    if result is None:
        return replace(_death(child.status or 0, watch.phase, kills_before), log=log)
    if "failure" in result:
        facts = result["failure"]
        return Failure(**{**facts, "kind": FailureKind(facts["kind"]), "log": log})
    return _measurement(result["measurement"], watch.tree_bytes)


def _wait(child: Child, watch: Watch, deadlines: Deadlines, config: Config) -> Failure | None:
    began_s = time.monotonic()
    while child.wait(POLL_S) is None:
        watch.look()
        now_s = time.monotonic()
        phase_s = deadlines.phase_s(watch.phase, config)
        if now_s - watch.phase_began_s > phase_s or now_s - began_s > deadlines.trial_s:
            limit_s = min(phase_s, deadlines.trial_s)
            message = f"{watch.phase} was not done after {format_duration(limit_s)}"
            return Failure(FailureKind.TIMEOUT, message, watch.phase)
    watch.look()
    return None


def _death(status: int, phase: str, kills_before: int) -> Failure:
    if status == -SIGKILL and out_of_memory_kills() > kills_before:
        message = "the kernel killed the process because the host ran out of memory"
        return Failure(FailureKind.HOST_OUT_OF_MEMORY, message, phase)
    if status < 0:
        return Failure(FailureKind.CRASH, f"killed by {signal.Signals(-status).name}", phase)
    return Failure(FailureKind.CRASH, f"ended with exit code {status} and no result", phase)


def _measurement(facts: dict[str, Any], tree_bytes: int) -> Measurement:
    peaks = tuple(Peak(**peak) for peak in facts["peaks"])
    if tree_bytes:
        peaks += (Peak("host", "all", "resident size of the process tree, sampled", tree_bytes),)
    seconds = {kind: tuple(samples) for kind, samples in facts["seconds"].items() if samples}
    return Measurement(seconds, peaks, facts["psnr_db"])
