"""What a fault leaves, counted once it is over."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

from tests.faults.fault import Fault, Row
from tests.faults.lab import Lab
from tests.faults.running import Ended

GRACE_S = 60.0
"""How long what a killed process leaves may take to go: children die with their parent at once, a
server that is importing torch once it has, which takes long on a busy machine."""

T = TypeVar("T")


def settled(look: Callable[[], list[T]]) -> list[T]:
    """What still stays after a while."""
    end_s = time.monotonic() + GRACE_S
    while (found := look()) and time.monotonic() < end_s:
        time.sleep(0.1)
    return found


def orphans(lab: Lab) -> list[str]:
    """The commands that are still alive."""
    found = []
    for process in lab.processes():
        with contextlib.suppress(psutil.Error):
            found.append(" ".join(process.cmdline())[-60:])
    return found


def left_over(lab: Lab) -> list[Path]:
    """Temporary files, and hidden ones beside the output."""
    beside = lab.output.parent.glob(".*") if lab.output.parent.is_dir() else ()
    within = lab.output.glob(".*") if lab.output.is_dir() else ()
    return [*lab.tmp.iterdir(), *beside, *within]


def expect_nothing_left(lab: Lab) -> None:
    """A killed command leaves nothing, before anything else is run."""
    lab.wrong += [f"alive after the kill: {command}" for command in settled(lambda: orphans(lab))]
    lab.wrong += [f"left by the kill: {path.name}" for path in settled(lambda: left_over(lab))]


def row(lab: Lab, fault: Fault, took_s: float) -> Row:
    """Everything that is counted."""
    living, files = settled(lambda: orphans(lab)), settled(lambda: left_over(lab))
    before, last = dict(lab.seen), lab.last or Ended(0, "", "")
    stored = lab.stored()
    measured = Counter(
        (each.machine.fingerprint, each.workload.fingerprint, each.trial.config.key)
        for each in stored
        if each.trial.purpose.is_searched and each.trial.measurement is not None
    )
    named = [f"alive: {command}" for command in living] + [f"left: {path.name}" for path in files]
    return Row(
        fault.kind,
        fault.name,
        last.code,
        last.said.replace(str(lab.folder), "LAB"),
        lost=len(before.keys() - {each.trial.number for each in stored}),
        twice=sum(count - 1 for count in measured.values()),
        orphans=len(living),
        left_over=len(files),
        executed=int(lab.canary.exists()),
        wrong=(*lab.wrong, *named),
        took_s=round(took_s, 1),
    )
