"""The controller's side of the fork server: one that has ended is started anew."""

from __future__ import annotations

import contextlib
import json
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from search_space.errors import TuneError
from tuner.processes.child import Child, environment
from tuner.processes.tree import interpreter, kill_remains, kill_tree, start_of

SERVERS = 3
"""So many new servers are tried for one child. What ends one in passing, such as a shortage of
memory, does not end three, and each takes seconds to import."""

POLL_S = 1.0
"""How often a server that is busy importing is looked after: on a crowded machine it takes minutes
until it answers, and its socket may outlive it in a process that it has started."""


class ServerEnded(Exception):
    """The server has gone, with all of its children."""


class Server:
    """A fork server, and the ends of its children as it has told them."""

    def __init__(self, root: Path) -> None:
        own_end, server_end = socket.socketpair()
        self.lost: dict[int, str] = {}
        self._control = own_end
        self._unread = b""
        self._living: dict[int, float | None] = {}
        self._statuses: dict[int, int] = {}
        with server_end:
            self._process = subprocess.Popen(
                interpreter(str(server_end.fileno()), str(root)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[server_end.fileno()],
                env=environment(root),
                start_new_session=True,
            )

    def start(self, request: dict[str, Any]) -> Child:
        """Fork a child that does the task, however long the server takes; raises ServerEnded."""
        self.send(request)
        while True:
            answer = self._receive(POLL_S)
            if answer is not None and not self._note_end(answer):
                break
        # The end of another child may have been told before, and its number given anew.
        self._statuses.pop(answer["pid"], None)
        self._living[answer["pid"]] = start_of(answer["pid"])
        return Child(answer["pid"], request["folder"], self)

    def status(self, pid: int, timeout_s: float) -> int | None:
        """The exit code of the child once the server has sent it, or has taken it along."""
        deadline_s = time.monotonic() + timeout_s
        with contextlib.suppress(ServerEnded):
            while pid not in self._statuses:
                answer = self._receive(max(0.0, deadline_s - time.monotonic()))
                if answer is None:
                    return None
                self._note_end(answer)
        return self._statuses.pop(pid)

    def send(self, request: dict[str, Any]) -> None:
        """Ask for something; raises ServerEnded."""
        try:
            self._control.sendall(json.dumps(request).encode() + b"\n")
        except OSError:
            self._end()

    def close(self) -> None:
        """End the server, which takes its children along; one that imports is not waited for."""
        self._control.close()
        try:
            self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            kill_tree(self._process.pid)
            self._process.wait()

    def cause(self) -> str:
        """How the server ended."""
        status = self._process.wait()
        if status < 0:
            return f"killed by {signal.Signals(-status).name}"
        return f"exit code {status}"

    def _note_end(self, answer: dict[str, Any]) -> bool:
        if "status" in answer:
            self._living.pop(answer["pid"], None)
            self._statuses[answer["pid"]] = answer["status"]
        return "status" in answer

    def _receive(self, timeout_s: float) -> dict[str, Any] | None:
        deadline_s = time.monotonic() + timeout_s
        while b"\n" not in self._unread:
            rest_s = max(0.0, deadline_s - time.monotonic())
            if not select.select([self._control], [], [], min(rest_s, POLL_S))[0]:
                if self._process.poll() is not None:
                    self._end()
                if rest_s <= POLL_S:
                    return None
                continue
            received = b""
            with contextlib.suppress(OSError):
                received = self._control.recv(4096)
            if not received:
                self._end()
            self._unread += received
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _end(self) -> NoReturn:
        """The server has gone, or as good as: so have its children, with all descendants."""
        if self._process.poll() is None:
            kill_tree(self._process.pid)
        for pid, start in self._living.items():
            kill_remains(pid, start)
            self._statuses[pid] = -signal.SIGKILL
            self.lost[pid] = self.cause()
        self._living.clear()
        raise ServerEnded


class Forked:
    """Starts each task by a fork of a server that has done the imports.

    The server also starts the interpreters that need an environment of their own.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: list[str] = []
        self._server = Server(root)

    def start(self, request: dict[str, Any]) -> Child:
        """Fork a child that does the task; raises TuneError where no server stays alive."""
        with contextlib.suppress(ServerEnded):
            return self._server.start(request)
        for _ in range(SERVERS):
            self._server.close()
            self._server = Server(self._root)
            with contextlib.suppress(ServerEnded):
                self._server.send({"preload": self._names})
                return self._server.start(request)
        raise TuneError(
            f"the process that starts trials ended {SERVERS} times in a row "
            f"({self._server.cause()}): free memory, and see what this says: "
            f"{sys.executable} -c 'import torch, diffusers'"
        )

    def preload(self, names: Sequence[str]) -> None:
        """Have the server import ``module:Class`` names ahead of the next fork."""
        self._names += names
        with contextlib.suppress(ServerEnded):
            self._server.send({"preload": list(names)})

    def close(self) -> None:
        self._server.close()
