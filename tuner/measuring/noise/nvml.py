"""The conditions of an NVIDIA GPU during a call, by NVML or, without it, by nvidia-smi.

Run on an H200 with nvidia-ml-py 13; what nvidia-smi prints has not been read on a GPU.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from search_space.trial import Condition

EVERY_S = 1.0
"""The time between readings of the GPU while a call runs; one more follows when it has ended. The
driver that answers is the one that the call needs."""

POWER_CAP = 0x4
"""The bit by which NVML says so; a power cap is what a busy GPU runs into every day."""

SLOWDOWNS = {
    0x8: "the hardware",
    0x20: "heat, by the driver",
    0x40: "heat, by the hardware",
    0x80: "the power supply",
}
"""Why the clock is lower than it should be, by NVML's bits."""

UNWATCHED = (Condition("gpu_unwatched", 1.0),)
"""Neither NVML nor nvidia-smi answered: neighbours and heat of the GPU are not seen."""

QUERY = "clocks_event_reasons.active,clocks.sm,temperature.gpu"


@dataclass(frozen=True)
class GpuReading:
    """One reading of a GPU: the processes on it, its clock, heat and limits."""

    pids: frozenset[int]
    reasons: int
    sm_clock_mhz: int
    temperature_c: int


def gpu_conditions(
    readings: Sequence[GpuReading], own_pids: frozenset[int]
) -> tuple[Condition, ...]:
    """The conditions of a call of the processes ``own_pids``, from the readings during it."""
    if not readings:
        return ()
    other_processes = max(strangers(reading.pids, own_pids) for reading in readings)
    reasons = 0
    for reading in readings:
        reasons |= reading.reasons
    causes = [cause for bit, cause in SLOWDOWNS.items() if reasons & bit]
    slowed = f"the GPU was slowed down by {' and '.join(causes)}" if causes else ""
    shared = f"{other_processes} other processes were on the GPU" if other_processes else ""
    return (
        Condition("gpu_others", other_processes, shared),
        Condition("gpu_clock_reasons", reasons, slowed),
        Condition("gpu_power_capped", float(bool(reasons & POWER_CAP))),
        Condition("gpu_sm_clock_mhz", min(reading.sm_clock_mhz for reading in readings)),
        Condition("gpu_temperature_c", max(reading.temperature_c for reading in readings)),
    )


def strangers(pids: frozenset[int], own_pids: frozenset[int]) -> int:
    """How many other processes there are; in a container our own may have another number."""
    unknown = len(pids - own_pids)
    return unknown if pids & own_pids else max(0, unknown - 1)


class GpuWatch:
    """Reads the GPU while a call runs and when it ends; reads nothing on other devices."""

    def __init__(self, device: str, read: Callable[[], GpuReading] | None = None) -> None:
        self._device = device
        self._read = (read or reader()) if device == "cuda" else None
        self._readings: list[GpuReading] = []
        self._call_has_ended = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Start to read."""
        if self._read is None:
            return
        self._readings.clear()
        self._call_has_ended.clear()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> tuple[Condition, ...]:
        """The conditions since ``begin``."""
        if self._thread is None:
            return UNWATCHED if self._device == "cuda" else ()
        self._call_has_ended.set()
        self._thread.join()
        self._take()
        return gpu_conditions(self._readings, frozenset((os.getpid(),))) or UNWATCHED

    def _look(self) -> None:
        while not self._call_has_ended.wait(EVERY_S):
            self._take()

    def _take(self) -> None:
        # A look that fails, for whatever reason, must not fail the trial that is looked at.
        if self._read is not None:
            with contextlib.suppress(Exception):
                self._readings.append(self._read())


def reader() -> Callable[[], GpuReading] | None:
    """A function that reads the first visible GPU, or None without NVML and nvidia-smi."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] or "0"
    for way in (_by_library, _by_command):
        # Whatever a library, a driver or a device lacks: the next way may do without.
        with contextlib.suppress(Exception):
            read = way(first)
            read()
            return read
    return None


def _by_library(name: str) -> Callable[[], GpuReading]:
    nvml = importlib.import_module("pynvml")
    nvml.nvmlInit()
    handle = handle_of(nvml, name)
    return lambda: by_library(nvml, handle)


def _by_command(name: str) -> Callable[[], GpuReading]:
    command = shutil.which("nvidia-smi") or "nvidia-smi"
    return lambda: by_command(command, name)


def handle_of(nvml: Any, name: str) -> Any:
    """NVML's handle of a device that CUDA_VISIBLE_DEVICES names by place or by identity."""
    if name.isdigit():
        return nvml.nvmlDeviceGetHandleByIndex(int(name))
    return nvml.nvmlDeviceGetHandleByUUID(name)


def by_library(nvml: Any, handle: Any) -> GpuReading:
    """One reading by NVML."""
    return GpuReading(
        frozenset(process.pid for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle)),
        int(nvml.nvmlDeviceGetCurrentClocksEventReasons(handle)),
        int(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
        int(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
    )


def by_command(command: str, name: str) -> GpuReading:
    """One reading by nvidia-smi."""
    processes = _say(command, name, "--query-compute-apps=pid")
    state = _say(command, name, f"--query-gpu={QUERY}")
    return from_text(processes, state)


def from_text(processes: str, state: str) -> GpuReading:
    """A reading from what nvidia-smi prints as CSV without header and units."""
    pids = frozenset(int(line) for line in processes.split() if line.isdigit())
    reasons, clock, temperature = (field.strip() for field in state.split(","))
    return GpuReading(pids, int(reasons, 16), int(clock), int(temperature))


def _say(command: str, name: str, query: str) -> str:
    arguments = [command, "-i", name, query, "--format=csv,noheader,nounits"]
    return subprocess.check_output(arguments, text=True, timeout=10.0)
