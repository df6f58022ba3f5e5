"""Memory that runs out: by the kernel's killer within a control group, and by a limit."""

from __future__ import annotations

import os
import uuid
from functools import cache
from pathlib import Path

from search_space.trial import Failure, FailureKind
from tests.faults.fault import FAULTS
from tests.faults.lab import SEARCH, Lab

MIB = 2**20
TOO_LITTLE_BYTES = 560 * MIB
"""Enough for the controller and the server with its imports (about 450 MiB), too little for a
trial beside them."""


@cache
def group_root() -> Path | None:
    """Where a control group with a limit on memory can be made, or None."""
    for root in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")):
        is_memory = (root / "memory.limit_in_bytes").exists() or (
            (root / "cgroup.subtree_control").exists()
            and "memory" in (root / "cgroup.subtree_control").read_text().split()
        )
        if is_memory and os.access(root, os.W_OK):
            return root
    return None


def no_groups() -> str | None:
    return None if group_root() else "control groups need the right to make them"


class Group:
    """A control group for the commands of one lab."""

    def __init__(self, lab: Lab, limit_bytes: int) -> None:
        root = group_root()
        assert root is not None
        self.folder = root / f"tune-fault-{uuid.uuid4().hex[:8]}"
        self.folder.mkdir()
        lab.later(self.remove)
        self.limit(limit_bytes)

    def limit(self, limit_bytes: int) -> None:
        for name in ("memory.max", "memory.limit_in_bytes"):
            if (self.folder / name).exists():
                (self.folder / name).write_text(str(limit_bytes))

    def enter(self) -> None:
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def remove(self) -> None:
        self.folder.rmdir()


@FAULTS.fault("memory", "the kernel kills trials for memory (control group)", lacks=no_groups)
def kill_trials(lab: Lab) -> None:
    """The trials are records of what happened; the controller and the server live."""
    group = Group(lab, TOO_LITTLE_BYTES)
    ended = lab.run((*SEARCH, "--trials", "2"), before=group.enter).end()
    lab.last = ended
    lab.expect_no_traceback(ended)
    failures = [stored.trial.outcome for stored in lab.stored()]
    kinds = [failure.kind for failure in failures if isinstance(failure, Failure)]
    if FailureKind.HOST_OUT_OF_MEMORY not in kinds:
        lab.wrong.append(f"the trials ended as {failures}")


@FAULTS.fault("memory", "the kernel kills one trial for memory (control group)", lacks=no_groups)
def kill_one_trial(lab: Lab) -> None:
    group = Group(lab, 8 * 2**30)
    running = lab.run(before=group.enter)
    lab.until_phase("load", 1)
    group.limit(TOO_LITTLE_BYTES)
    lab.until(lambda: len(lab.stored()) > 1, "the trial's record")
    group.limit(8 * 2**30)
    lab.expect(running.end(), 0)
    lab.expect_emitted()
