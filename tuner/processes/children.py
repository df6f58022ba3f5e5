"""The controller's side of the processes that do tasks: start them, watch them, end them."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

from search_space import errors
from search_space.errors import TuneError
from tuner.processes.child import Child, Spawned
from tuner.processes.folders import RunFolder
from tuner.processes.server import Forked
from tuner.processes.task import log_tail, read_result
from tuner.processes.tree import CONTROLLER, FOLDER

# Elsewhere a fork after importing frameworks is unsafe (macOS) or impossible (Windows).
FORKS = sys.platform == "linux"

LOST = "the process that starts trials ended and took it along"


class Children:
    """Starts processes for tasks, in folders that go with it; a context manager."""

    def __init__(self, forks: bool = FORKS) -> None:
        self.forks = forks
        self._folder = RunFolder()
        kind = Forked if forks else Spawned
        self._source: Forked | Spawned = kind(self._folder.path)

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._source.close()
        self._folder.close()

    def preload(self, names: Sequence[str]) -> None:
        """Import ``module:Class`` names once for all tasks to come."""
        self._source.preload(list(names))

    @contextlib.contextmanager
    def task_folder(self) -> Iterator[Path]:
        """A folder for a task, which goes with it."""
        with tempfile.TemporaryDirectory(
            dir=self._folder.path, prefix="", ignore_cleanup_errors=True
        ) as name:
            yield Path(name)

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
        own = {
            "TUNE_SENT_S": f"{time.monotonic()}",
            CONTROLLER: f"{os.getpid()}",
            FOLDER: str(folder),
        }
        sent = {
            "task": task,
            "folder": str(folder),
            "environment": own,
            "before_start": dict(environment),
        }
        return self._source.start(sent)

    def call(self, task: str, request: object, timeout_s: float = 3600.0) -> Any:
        """Do a task in a child and return its result; raises the TuneError that it ended with.

        A task that was lost with the fork server is done once more.
        """
        result = self._try(task, request, timeout_s) or self._try(task, request, timeout_s)
        if result is None:
            raise TuneError(f"{task} was lost twice: {LOST}: free memory and run the command again")
        if "error" in result:
            raise getattr(errors, result["error"])(result["message"])
        return result

    def _try(self, task: str, request: object, timeout_s: float) -> dict[str, Any] | None:
        """The result of a task, None where it was lost with the server."""
        with self.task_folder() as folder:
            child = self.start(task, folder, request)
            try:
                status = child.wait(timeout_s)
            finally:
                child.kill()
            result = read_result(folder)
            if result is None and not child.loss:
                raise TuneError(f"{task} ended with status {status}: {log_tail(folder, 1)}")
            return result
