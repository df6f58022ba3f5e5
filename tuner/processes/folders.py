"""The folder of a run, in which those of its tasks lie; what a killed run has left is removed."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from tuner.processes.locks import locked

PREFIX = "tune-"
OWNER = "owned-by-diffusers-autotune"
"""A file that the controller keeps locked: the kernel unlocks it when the controller goes."""


class RunFolder:
    """A folder that goes with the run: by its own hand, by that of the fork server if the run was
    killed, or by that of the next run if both were."""

    def __init__(self) -> None:
        remove_abandoned()
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._owner = os.open(self.path / "unlocked", os.O_CREAT | os.O_RDWR)
        locked(self._owner)
        # Only now may others try to lock it.
        (self.path / "unlocked").rename(self.path / OWNER)

    def close(self) -> None:
        """Remove it."""
        remove(self.path)
        os.close(self._owner)


def remove_abandoned() -> None:
    """Remove the folders of runs that have gone without it; on Windows, without locks, none."""
    if sys.platform == "win32":
        return
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{OWNER}"):
        # Other users' may be there, and what another run removes at this moment.
        with suppress(OSError):
            owner = os.open(path, os.O_RDWR)
            try:
                if locked(owner):
                    remove(path.parent)
            finally:
                os.close(owner)


def remove(folder: Path) -> None:
    """Remove a folder as far as it can be removed."""
    shutil.rmtree(folder, ignore_errors=True)
