"""A process at work on one task, and the new interpreters that such processes may be."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from tuner.processes.tree import TEMPORARY, interpreter, kill_orphans, kill_tree

QUIET = {
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
"""Keeps libraries quiet from their first import on, towards the user and towards their makers."""


def environment(root: Path) -> dict[str, str]:
    """The variables of a process of the run whose folder this is."""
    return {**os.environ, **QUIET, TEMPORARY: str(root)}


class Source(Protocol):
    """What has started a process, and is told how it ends."""

    @property
    def lost(self) -> Mapping[int, str]:
        """By number, the processes that a fork server took along, and why the server ended."""

    def status(self, pid: int, timeout_s: float) -> int | None:
        """The exit code, minus the signal that ended it, or None if it still runs."""


class Child:
    """A process at work on one task in a folder of its own."""

    def __init__(self, pid: int, folder: str, source: Source) -> None:
        self.pid = pid
        self.status: int | None = None
        self._folder = folder
        self._source = source

    def wait(self, timeout_s: float) -> int | None:
        """The exit code, minus the signal that ended it, or None if it still runs."""
        if self.status is None:
            self.status = self._source.status(self.pid, timeout_s)
            if self.status:
                kill_orphans(self._folder)
        return self.status

    @property
    def loss(self) -> str | None:
        """Why the server ended that took this process along; None where it ended by itself."""
        return self._source.lost.get(self.pid)

    def kill(self) -> None:
        """Kill the whole tree and wait for its end."""
        # Once it has ended, its number may be another's.
        if self.wait(0.0) is None:
            kill_tree(self.pid)
            self.wait(10.0)


class Spawned:
    """Starts a new interpreter for each task."""

    lost: Mapping[int, str] = MappingProxyType({})

    def __init__(self, root: Path) -> None:
        self._root = root
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, request: dict[str, Any]) -> Child:
        process = subprocess.Popen(
            interpreter("once", json.dumps(request)),
            stdin=subprocess.DEVNULL,
            env={**environment(self._root), **request["before_start"]},
            start_new_session=True,
        )
        self._processes[process.pid] = process
        return Child(process.pid, request["folder"], self)

    def preload(self, names: list[str]) -> None:
        """Each interpreter imports for itself."""

    def status(self, pid: int, timeout_s: float) -> int | None:
        """The exit code once the interpreter has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._processes[pid].wait(timeout_s)
            del self._processes[pid]
            return status
        return None

    def close(self) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                kill_tree(process.pid)
                process.wait()
