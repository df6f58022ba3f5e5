"""A command that a fault is injected into, at work and after its end."""

from __future__ import annotations

import contextlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

PATIENCE_S = 240.0
"""How long a run of three trials may take on a busy machine, and what one waits for in it."""

SAID = 200
"""Letters of a line that a row holds."""


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def said(self) -> str:
        """Its error, or the last line of what it said."""
        lines = self.stderr.strip().splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        return shorten((errors or lines or [""])[-1], SAID, placeholder=" ...")


class Running:
    """A command at work."""

    def __init__(self, process: subprocess.Popen[str], out: Path, err: Path) -> None:
        self.process = process
        self._out, self._err = out, err

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stderr(self) -> str:
        return self._err.read_text("utf-8", "replace")

    def signal(self, number: int) -> None:
        """Send a signal, which comes too late where it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def end(self, timeout_s: float = PATIENCE_S) -> Ended:
        """Wait for its end."""
        status = self.process.wait(timeout_s)
        # As shells report what a signal has ended.
        code = status if status >= 0 else 128 - status
        return Ended(code, self._out.read_text("utf-8", "replace"), self.stderr)
