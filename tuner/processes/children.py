"""The controller's side of a trial's process: start it, watch it, end it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

from search_space import errors
from search_space.errors import TuneError
from tuner.processes.task import log_tail, read_result, task_folder
from tuner.processes.tree import CONTROLLER, interpreter, kill_tree

# Elsewhere a fork after importing frameworks is unsafe (macOS) or impossible (Windows).
FORKS = sys.platform == "linux"
QUIET = {
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


class Child:
    """A process at work on one task in a folder of its own."""

    def __init__(self, pid: int, source: Spawned | Forked) -> None:
        self.pid = pid
        self.status: int | None = None
        self._source = source

    def wait(self, timeout_s: float) -> int | None:
        """The exit code, minus the signal that ended it, or None if it still runs."""
        if self.status is None:
            self.status = self._source.status(self.pid, timeout_s)
        return self.status

    def kill(self) -> None:
        """Kill the whole tree and wait for its end."""
        kill_tree(self.pid)
        self.wait(10.0)


class Spawned:
    """Starts a new interpreter for each task."""

    def __init__(self) -> None:
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, request: dict[str, Any]) -> Child:
        process = subprocess.Popen(
            interpreter("once", json.dumps(request)),
            stdin=subprocess.DEVNULL,
            env={**os.environ, **QUIET, **request["before_start"]},
            start_new_session=True,
        )
        self._processes[process.pid] = process
        return Child(process.pid, self)

    def preload(self, names: Sequence[str]) -> None:
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


class Forked:
    """Starts each task by a fork of a server that has done the imports.

    The server also starts the interpreters that need an environment of their own.
    """

    def __init__(self) -> None:
        own_end, server_end = socket.socketpair()
        self._control = own_end
        self._unread = b""
        self._statuses: dict[int, int] = {}
        with server_end:
            self._server = subprocess.Popen(
                interpreter(str(server_end.fileno())),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[server_end.fileno()],
                env=os.environ | QUIET,
                start_new_session=True,
            )

    def start(self, request: dict[str, Any]) -> Child:
        """Fork a child that does the task; raises TuneError where the server has gone."""
        self._send(request)
        while (answer := self._receive(120.0)) is not None:
            # The end of another child may be told first, and its number given anew.
            self._statuses.pop(answer["pid"], None)
            if not self._note_end(answer):
                return Child(answer["pid"], self)
        raise TuneError("the fork server did not answer within 120 s: run the command again")

    def preload(self, names: Sequence[str]) -> None:
        """Have the server import ``module:Class`` names ahead of the next fork."""
        self._send({"preload": list(names)})

    def status(self, pid: int, timeout_s: float) -> int | None:
        """The exit code of the child once the server has sent it."""
        deadline_s = time.monotonic() + timeout_s
        while pid not in self._statuses:
            answer = self._receive(max(0.0, deadline_s - time.monotonic()))
            if answer is None:
                return None
            self._note_end(answer)
        return self._statuses.pop(pid)

    def _note_end(self, answer: dict[str, Any]) -> bool:
        if "status" in answer:
            self._statuses[answer["pid"]] = answer["status"]
        return "status" in answer

    def _send(self, request: dict[str, Any]) -> None:
        try:
            self._control.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise TuneError(
                f"the fork server has ended ({error}): run the command again"
            ) from error

    def _receive(self, timeout_s: float) -> dict[str, Any] | None:
        deadline_s = time.monotonic() + timeout_s
        while b"\n" not in self._unread:
            rest_s = max(0.0, deadline_s - time.monotonic())
            if not select.select([self._control], [], [], rest_s)[0]:
                return None
            received = self._control.recv(4096)
            if not received:
                raise TuneError("the fork server has ended: run the command again")
            self._unread += received
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the server, which takes its child along; one that still imports is not waited for."""
        self._control.close()
        try:
            self._server.wait(0.5)
        except subprocess.TimeoutExpired:
            kill_tree(self._server.pid)
            self._server.wait()


class Children:
    """Starts processes for tasks; a context manager."""

    def __init__(self, forks: bool = FORKS) -> None:
        self.forks = forks
        self._source: Forked | Spawned = Forked() if forks else Spawned()

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._source.close()

    def preload(self, names: Sequence[str]) -> None:
        """Import ``module:Class`` names once for all tasks to come."""
        self._source.preload(names)

    def start(
        self,
        task: str,
        folder: Path,
        request: object,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> Child:
        """Start ``module:function``, which is given ``folder``.

        It finds ``request.json`` there and leaves ``result.json``. With an ``environment`` it is a
        new interpreter in any case: libraries read these variables when they are loaded.
        """
        facts = asdict(request) if is_dataclass(request) else request  # type: ignore[arg-type]
        (folder / "request.json").write_text(json.dumps(facts, default=dict), encoding="utf-8")
        sent = {
            "task": task,
            "folder": str(folder),
            "environment": {"TUNE_SENT_S": f"{time.monotonic()}", CONTROLLER: f"{os.getpid()}"},
            "before_start": dict(environment),
        }
        return self._source.start(sent)

    def call(self, task: str, request: object, timeout_s: float = 3600.0) -> Any:
        """Do a task in a child and return its result; raises the TuneError that it ended with."""
        with task_folder() as folder:
            child = self.start(task, folder, request)
            try:
                status = child.wait(timeout_s)
            finally:
                if child.status is None:
                    child.kill()
            result = read_result(folder)
            if result is None:
                raise TuneError(f"{task} ended with status {status}: {log_tail(folder, 1)}")
            if "error" in result:
                raise getattr(errors, result["error"])(result["message"])
            return result
