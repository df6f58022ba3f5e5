"""The budget where the user gives none: what is free on the device now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from search_space.budget import Budget
from search_space.hardware.machine import Machine
from search_space.units import format_size
from tuner.measuring.memory.limits import free_host_bytes
from tuner.processes.children import Children
from tuner.processes.task import leave_result

HEADROOM = 0.05
"""Of what is free, this share is left to others: a browser tab, a display, a second process."""

STEP_BYTES = 2**29
"""The budget is rounded down to half a GiB: a round number, and the same one in most runs."""

WITH_FREE_MEMORY = ("cuda", "xpu")
"""Devices that tell how much of their memory is free; of the others all is taken to be."""


def within_free_memory(children: Children, machine: Machine, budget: Budget) -> tuple[Budget, str]:
    """The budget with a limit for the device's memory, and the sentence that says whence."""
    if budget.memory_bytes is not None:
        return budget, ""
    free_bytes = _free_bytes(children, machine)
    limit_bytes = max(int((1 - HEADROOM) * free_bytes) // STEP_BYTES, 1) * STEP_BYTES
    place = "of the host" if machine.device == "cpu" else f"of the {machine.device} device"
    sentence = (
        f"Memory budget: {format_size(limit_bytes)}, what is free {place} now less "
        f"{100 * HEADROOM:.0f} %; --memory sets another."
    )
    return replace(budget, memory_bytes=limit_bytes), sentence


def _free_bytes(children: Children, machine: Machine) -> int:
    if machine.device in WITH_FREE_MEMORY:
        question = {"device": machine.device}
        answer = children.call("tuner.discovery.free_memory:look", question)
        return int(answer["free_bytes"])
    return free_host_bytes() if machine.device == "cpu" else machine.device_bytes


def look(folder: Path) -> None:
    """The task of a child: how much of the device is free."""
    import json

    import torch

    device = json.loads((folder / "request.json").read_text(encoding="utf-8"))["device"]
    free_bytes, _ = getattr(torch, device).mem_get_info()
    leave_result(folder, {"free_bytes": int(free_bytes)})
