"""The folder of a task: its request, its result and its log."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tuner.processes.secrets import scrubbed, without_secrets


def leave_result(folder: Path, result: dict[str, Any]) -> None:
    """Write ``result.json`` whole or not at all; an error is told without secrets."""
    if "error" in result or "failure" in result:
        result = without_secrets(result)
    unfinished = folder / "result.part"
    unfinished.write_text(json.dumps(result), encoding="utf-8")
    os.replace(unfinished, folder / "result.json")


def read_result(folder: Path) -> dict[str, Any] | None:
    """The task's result, or None if it left none."""
    path = folder / "result.json"
    if not path.exists():
        return None
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


def log_tail(folder: Path, lines: int = 20) -> str:
    """The last lines that the task printed, without secrets."""
    path = folder / "log.txt"
    if not path.exists():
        return ""
    text = path.read_text(encoding="utf-8", errors="replace")
    return scrubbed("\n".join(text.strip().splitlines()[-lines:]))[-4000:]
