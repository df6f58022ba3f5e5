"""Try devices and the knobs' probes, in processes that may crash."""

from __future__ import annotations

import json
import signal
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from search_space.catalog import all_probes
from search_space.errors import TuneError, UsageError
from search_space.hardware.detect import KINDS, absent, absent_rocm, detect, unusable_ipex
from search_space.hardware.machine import Machine
from tuner.processes.children import Children
from tuner.processes.task import leave_result

LIMIT_S = 60.0
"""For the probes of one process together, which take seconds. One that hangs costs a command this
much; less might end an import on a busy machine and call what works missing."""

HEAD_SIZE = 64
"""What attention is tried with where no model says its own."""

DEVICES: dict[str, Callable[[], str | None]] = {
    **{kind: partial(absent, kind) for kind in KINDS},
    "rocm": absent_rocm,
}
"""Each kind of device, and what says why it is not there."""


def probed(
    children: Children, names: Sequence[str], device: str, head_size: int
) -> dict[str, str | None]:
    """The result of each probe of the knobs: None, or the reason why it fails here."""
    setting = {"device": device, "head_size": head_size}
    return reasons_of(children, "tuner.discovery.probing:try_probes", names, setting)


def find_device(children: Children, device: str | None) -> tuple[str, dict[str, str]]:
    """The device itself, or the best, and why others are not there; raises UsageError."""
    if device is not None and device not in KINDS:
        raise UsageError(f"the device {device!r} cannot be used: there are {', '.join(KINDS)}")
    reasons = reasons_of(children, "tuner.discovery.probing:try_devices", list(DEVICES))
    absent_kinds = {kind: reason for kind, reason in reasons.items() if reason}
    if device in absent_kinds:
        raise UsageError(f"the device {device!r} cannot be used: {absent_kinds[device]}")
    if reason := unusable_ipex():
        absent_kinds["ipex"] = reason
    return device or next(kind for kind in KINDS if kind not in absent_kinds), absent_kinds


def examine_machine(children: Children, device: str | None) -> tuple[Machine, dict[str, str]]:
    """The machine with every probe tried, and why other kinds of device are not there."""
    kind, absent_kinds = find_device(children, device)
    facts = children.call("tuner.discovery.probing:describe", {"device": kind})
    machine = Machine.from_json(facts["machine"])
    probes = probed(children, sorted(all_probes()), kind, HEAD_SIZE)
    return replace(machine, probes=probes), absent_kinds


def reasons_of(
    children: Children,
    task: str,
    names: Sequence[str],
    setting: Mapping[str, Any] | None = None,
    limit_s: float = LIMIT_S,
) -> dict[str, str | None]:
    """The reason that the task gives for each name, None for none.

    For a name that ends or holds up the process, that is the reason; the names after it are tried
    in a process of their own. A name that was lost with the fork server is tried once more.
    """
    reasons: dict[str, str | None] = {}
    lost: set[str] = set()
    while remaining := [name for name in names if name not in reasons]:
        with children.task_folder() as folder:
            child = children.start(task, folder, {**(setting or {}), "names": remaining})
            status = child.wait(limit_s)
            child.kill()
            reasons |= _read(folder)
        guilty = next((name for name in remaining if name not in reasons), None)
        if guilty and child.loss and guilty not in lost:
            lost.add(guilty)
        elif guilty:
            reasons[guilty] = _end(status, limit_s)
    return reasons


def _end(status: int | None, limit_s: float) -> str:
    if status is None:
        return f"trying it did not end within {limit_s:.0f} s"
    if status < 0:
        return f"trying it crashed the process with {signal.Signals(-status).name}"
    return f"trying it ended the process with exit code {status}"


def _read(folder: Path) -> dict[str, str | None]:
    path = folder / "answers.jsonl"
    if not path.exists():
        return {}
    # The last line may have been cut off with its process.
    complete, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    return dict(json.loads(line) for line in complete.splitlines())


def describe(folder: Path) -> None:
    """Write the description of the machine with this device."""
    question = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    try:
        leave_result(folder, {"machine": asdict(detect(question["device"]))})
    except TuneError as error:
        leave_result(folder, {"error": type(error).__name__, "message": str(error)})


def try_devices(folder: Path) -> None:
    """Write for each kind of device why it is not there."""
    answer_each(folder, lambda name, question: DEVICES[name]())


def try_probes(folder: Path) -> None:
    """Try one probe of the knobs after the other."""
    probes = all_probes()
    answer_each(
        folder, lambda name, question: probes[name](question["device"], question["head_size"])
    )


def answer_each(folder: Path, probe: Callable[[str, Any], str | None]) -> None:
    """Write the reason for each name of the request as a line of its own."""
    question = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    with (folder / "answers.jsonl").open("a", encoding="utf-8", buffering=1) as file:
        for name in question["names"]:
            try:
                reason = probe(name, question)
            except Exception as error:
                reason = in_words(error)
            file.write(json.dumps([name, reason]) + "\n")


def in_words(error: Exception) -> str:
    """An exception as a sentence for a reader who knows no Python."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        module = error.name.partition(".")[0]
        # The package may be called otherwise, and another may be called so.
        return f"the module {module} is missing: install the package that brings it"
    message = textwrap.shorten(str(error), 160, placeholder=" ...").rstrip(".")
    if isinstance(error, ImportError):
        return f"a package is installed and cannot be loaded: {message}"
    return f"trying it failed: {message or type(error).__name__}"
