"""Where inductor keeps what it compiles in one run: a folder of the run's own, gone with it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from uuid import uuid4

from tuner.processes.locks import locked


class CompileCache:
    """A folder of its own beside those of other runs; a context manager.

    The owner holds a lock on a file beside it, which the system gives up with the process, however
    that ends: so the next run can tell what the dead have left and sweep it.
    """

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._folder = parent / uuid4().hex
        self._lock: int | None = None

    def __enter__(self) -> CompileCache:
        self._parent.mkdir(parents=True, exist_ok=True)
        self._sweep()
        # It gets its name once it is locked: nobody finds it unlocked while its owner lives.
        unnamed = self._parent / f".{self._folder.name}"
        self._lock = os.open(unnamed, os.O_CREAT | os.O_RDWR, 0o600)
        locked(self._lock)
        unnamed.rename(self._folder.with_suffix(".lock"))
        return self

    def __exit__(self, *raised: object) -> None:
        _remove(self._folder)
        if self._lock is not None:
            os.close(self._lock)

    def folder(self, name: str) -> Path:
        """The folder for one config, which need not be there."""
        return self._folder / name

    def forget(self, name: str) -> None:
        """Begin that config anew."""
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def _sweep(self) -> None:
        if sys.platform == "win32":
            return
        for folder in {path.with_suffix("") for path in self._parent.glob("[!.]*")}:
            if not _is_owned(folder):
                _remove(folder)


def _is_owned(folder: Path) -> bool:
    """Whether a process that lives holds the lock beside the folder."""
    try:
        lock = os.open(folder.with_suffix(".lock"), os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not locked(lock)
    finally:
        os.close(lock)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_suffix(".lock").unlink(missing_ok=True)
