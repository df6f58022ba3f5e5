"""The limits of a trial's memory, set before its process loads anything."""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path

from search_space.budget import Budget
from search_space.hardware.control_groups import memory_left
from search_space.hardware.detect import logical_cores, usable_host_bytes
from tuner.measuring.memory.device import DeviceMemory

STOP = 1.5
"""A trial that holds this multiple of the host's budget is stopped.

Up to it the trial is measured, and the search learns how far off it was. Beyond it is a runaway
that might take the machine with it.
"""

STOP_SLACK_BYTES = 2**30
"""Granted on top, so that a small pipeline is measured beside what the imported libraries hold."""

WITHOUT_LIMIT = ("hpu",)
"""Devices whose allocator takes no limit: the trial looks at what it holds and stops itself."""

POOLS = 4
"""How many runtimes may have a thread for each core: OpenMP, TBB, ONNX Runtime, torch's own."""

STACK_BYTES = 8 * 2**20
"""Linux's usual limit, for a system that sets none: there glibc itself gives a thread 2 MiB on
x86-64 (pthread_create(3)). Too little would fail trials, too much lets a runaway go further."""


def stop_bytes(budget: Budget, device: str) -> int | None:
    """What a trial may hold of the host before it is stopped, None without a budget."""
    limit_bytes = budget.on_host(device)
    if limit_bytes is None:
        return None
    return min(int(STOP * limit_bytes) + STOP_SLACK_BYTES, usable_host_bytes())


def free_host_bytes() -> int:
    """What the host, or this process's control group, can still give."""
    import psutil

    available_bytes, left_bytes = int(psutil.virtual_memory().available), memory_left()
    return available_bytes if left_bytes is None else min(available_bytes, left_bytes)


def limit_memory(budget: Budget, device: str, memory: DeviceMemory | None, folder: Path) -> None:
    """Hold this process to the budget; ``folder`` is the model's."""
    limit_bytes = budget.on_device(device)
    if limit_bytes is not None and memory is not None and device not in WITHOUT_LIMIT:
        limit_device(device, memory, limit_bytes)
    stop = stop_bytes(budget, device)
    # Beside a device the drivers reserve far more than they use, so only the watcher limits.
    if stop is not None and device == "cpu" and platform.system() == "Linux":
        limit_data(stop + data_bytes() + file_bytes(folder) + stack_bytes())


def file_bytes(folder: Path) -> int:
    """The weights: while they are read they are mapped, which counts as data though it is none."""
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def stack_bytes() -> int:
    """The stacks of the threads to come, which count in full and are hardly used."""
    import resource

    each, _ = resource.getrlimit(resource.RLIMIT_STACK)
    return POOLS * logical_cores() * (STACK_BYTES if each == resource.RLIM_INFINITY else each)


def limit_data(size_bytes: int) -> None:
    """Let allocations beyond this fail: an error with a phase, not a killed process."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (size_bytes, hard))


def near_data_limit() -> bool:
    """Whether less than a tenth is left of what this process may allocate."""
    if platform.system() != "Linux":
        return False
    import resource

    limit_bytes, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return limit_bytes != resource.RLIM_INFINITY and data_bytes() > 0.9 * limit_bytes


def lift_data_limit() -> None:
    """Lift the limit: a trial that has failed must be able to say so."""
    if platform.system() == "Linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def data_bytes() -> int:
    """What the kernel counts as data of this process now, against its limit."""
    with open("/proc/self/status") as file:
        sizes = dict(line.split(":", 1) for line in file)
    return int(sizes["VmData"].split()[0]) * 1024


def limit_device(device: str, memory: DeviceMemory, limit_bytes: int) -> None:
    """Let torch's allocator have what the budget leaves beside the context and the libraries.

    Nothing else on the device can be limited. What it comes to is seen in the peak.
    """
    import torch

    if device == "mps":
        share = fraction(limit_bytes, 0, int(torch.mps.recommended_max_memory()))
        torch.mps.set_per_process_memory_fraction(share)
        return
    kind = getattr(torch, device)
    for index in memory.devices():
        _work(f"{device}:{index}")
        kind.empty_cache()
        _, total_bytes = kind.mem_get_info(index)
        share = fraction(limit_bytes, memory.unseen_bytes(index), int(total_bytes))
        kind.set_per_process_memory_fraction(share, index)


def fraction(limit_bytes: int, unseen_bytes: int, total_bytes: int) -> float:
    """The share of a device that is left to torch; never 0, which on MPS would mean all."""
    return min(1.0, max(1e-6, (limit_bytes - unseen_bytes) / total_bytes))


def _work(place: str) -> None:
    """Have the context made and the libraries of matrix products and convolutions loaded."""
    import torch

    with contextlib.suppress(RuntimeError):
        square = torch.ones(64, 64, device=place)
        torch.nn.functional.conv2d((square @ square)[None, None], square[None, None, :3, :3])
    torch.accelerator.synchronize(place)
