"""Peak memory of this process by phase, on the host and on the device."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable

from search_space.trial import Peak

KILOBYTE = 1024


def reset_peaks(device: str) -> None:
    """Start a new phase: later peaks are those since now."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    if device in ("cuda", "xpu"):
        import torch

        for device_index in range(torch.accelerator.device_count()):
            torch.accelerator.reset_peak_memory_stats(device_index)


def read_peaks(device: str, phase: str) -> list[Peak]:
    """The peaks since the last reset; raises RuntimeError where the host gives no reading."""
    peaks = [host_peak(phase)]
    if device != "cpu":
        source, read_bytes = DEVICE_PEAKS[device]
        peaks.append(Peak("device", phase, source, read_bytes()))
    return peaks


def host_peak(phase: str) -> Peak:
    """The host's peak. Never ``ru_maxrss`` on Linux: a child inherits it from its parent."""
    if platform.system() == "Linux":
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return Peak("host", phase, "VmHWM", int(line.split()[1]) * KILOBYTE)
        raise RuntimeError("the kernel gives no VmHWM: peak memory cannot be measured here")
    if platform.system() == "Windows":
        import psutil

        return Peak("host", phase, "PeakWorkingSetSize", psutil.Process().memory_info().peak_wset)
    import resource

    # macOS counts it in bytes.
    return Peak("host", phase, "ru_maxrss", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _accelerator() -> int:
    import torch

    # A budget is that of one device: of several, the fullest counts.
    devices = range(torch.accelerator.device_count())
    return max(int(torch.accelerator.max_memory_reserved(index)) for index in devices)


def _mps() -> int:
    import torch

    return int(torch.mps.driver_allocated_memory())


def _hpu() -> int:
    import torch

    return int(torch.hpu.max_memory_allocated())  # type: ignore[attr-defined]


# What each counter leaves out is said in docs/measuring.md.
DEVICE_PEAKS: dict[str, tuple[str, Callable[[], int]]] = {
    "cuda": ("max_memory_reserved", _accelerator),
    "xpu": ("max_memory_reserved", _accelerator),
    "mps": ("driver_allocated_memory at the end of the phase", _mps),
    "hpu": ("max_memory_allocated", _hpu),
}
