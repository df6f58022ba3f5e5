"""The memory of a device that a trial holds, also what torch's allocator does not see."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from search_space.trial import Peak


@dataclass(frozen=True)
class DeviceReading:
    """One device at the end of a phase.

    ``used_bytes`` is what is in use of it, by the account of its driver; ``reserved_bytes`` is what
    torch's allocator has of that now, ``highest_reserved_bytes`` the most it had in the phase.
    """

    used_bytes: int
    reserved_bytes: int
    highest_reserved_bytes: int

    def peak_bytes(self, idle_bytes: int, highest_used_bytes: int) -> int:
        """The most that this process held in the phase.

        torch's part is exact, for torch keeps its own highest. The rest (context, kernels, other
        allocators) is what is in use now beyond torch's, and at least what the samples showed.
        ``idle_bytes`` were in use before this process.
        """
        unseen = max(0, self.used_bytes - idle_bytes - self.reserved_bytes)
        return max(self.highest_reserved_bytes + unseen, highest_used_bytes - idle_bytes)


@dataclass(frozen=True)
class Counters:
    """How the memory of one kind of device is read, by its index."""

    source: str
    used: Callable[[int], int]
    reserved: Callable[[int], int]
    highest_reserved: Callable[[int], int]
    reset: Callable[[int], None]
    count: Callable[[], int]


class DeviceMemory:
    """The memory of every device of one kind: a budget is that of one, so the fullest counts."""

    def __init__(self, counters: Counters, idle_bytes: list[int]) -> None:
        self._counters = counters
        self._idle_bytes = idle_bytes
        self._highest_used = [0] * len(idle_bytes)

    @classmethod
    def of(cls, device: str) -> DeviceMemory | None:
        """The memory of a kind of device, before it is touched; None where the host's is all."""
        if device == "cpu":
            return None
        counters = COUNTERS[device]()
        devices = range(counters.count())
        driver = _driver_account(device)
        if driver is None:
            return cls(counters, [0 for _ in devices])
        nvml_counters = Counters(
            **{**vars(counters), "source": f"{counters.source} by NVML", "used": driver}
        )
        return cls(nvml_counters, [driver(index) for index in devices])

    def reset(self) -> None:
        """A phase begins."""
        self._highest_used = [0 for _ in self._idle_bytes]
        for index in range(len(self._idle_bytes)):
            self._counters.reset(index)

    def sample(self) -> None:
        for index, highest in enumerate(self._highest_used):
            self._highest_used[index] = max(highest, self._counters.used(index))

    def highest_bytes(self) -> int:
        """The most that the samples of this phase have shown on one device."""
        pairs = zip(self._highest_used, self._idle_bytes, strict=True)
        return max(used - idle for used, idle in pairs)

    def peak(self, phase: str) -> Peak:
        """The peak of the fullest device; raises RuntimeError where its driver gives no reading."""
        self.sample()
        peaks = [
            self.reading(index).peak_bytes(idle, highest)
            for index, (idle, highest) in enumerate(
                zip(self._idle_bytes, self._highest_used, strict=True)
            )
        ]
        return Peak("device", phase, self._counters.source, max(peaks))

    def reading(self, index: int) -> DeviceReading:
        """One device as it is now; raises RuntimeError where its driver gives no reading."""
        counters = self._counters
        used = counters.used(index)
        if used <= 0:
            raise RuntimeError(f"{counters.source} gives no reading: no peak to be measured")
        return DeviceReading(used, counters.reserved(index), counters.highest_reserved(index))

    def unseen_bytes(self, index: int) -> int:
        """Memory in use now that torch's allocator does not know of."""
        now = self.reading(index)
        return max(0, now.used_bytes - self._idle_bytes[index] - now.reserved_bytes)

    def devices(self) -> range:
        return range(len(self._idle_bytes))


def _driver_account(device: str) -> Callable[[int], int] | None:
    """NVML's account, which, unlike torch's, can be read without becoming a user of the device.

    It is asked only where every device is visible, for it knows nothing of CUDA_VISIBLE_DEVICES.
    """
    import torch

    if device != "cuda" or torch.version.hip is not None:
        return None
    with contextlib.suppress(Exception):
        import pynvml

        pynvml.nvmlInit()
        if pynvml.nvmlDeviceGetCount() == torch.cuda.device_count():
            handle = pynvml.nvmlDeviceGetHandleByIndex
            return lambda index: int(pynvml.nvmlDeviceGetMemoryInfo(handle(index)).used)
    return None


def _torch_counters(kind: str) -> Counters:
    import torch

    module: Any = getattr(torch, kind)

    def used(index: int) -> int:
        free, total = module.mem_get_info(index)
        return int(total - free)

    def reset(index: int) -> None:
        # Before the device is used there is nothing to reset, and torch knows no device.
        if module.is_initialized():
            module.reset_peak_memory_stats(index)

    return Counters(
        "max_memory_reserved and what mem_get_info shows beside it",
        used,
        module.memory_reserved,
        module.max_memory_reserved,
        reset,
        module.device_count,
    )


def _mps_counters() -> Counters:
    import torch

    def driver(index: int) -> int:
        return int(torch.mps.driver_allocated_memory())

    source = "driver_allocated_memory, sampled"
    return Counters(source, driver, driver, driver, lambda index: None, lambda: 1)


def _hpu_counters() -> Counters:
    import torch

    hpu: Any = torch.hpu  # type: ignore[attr-defined]

    def used(index: int) -> int:
        free, total = hpu.mem_get_info(index)
        return int(total - free)

    return Counters(
        "max_memory_allocated and what mem_get_info shows beside it",
        used,
        hpu.memory_allocated,
        hpu.max_memory_allocated,
        hpu.reset_peak_memory_stats,
        hpu.device_count,
    )


COUNTERS: dict[str, Callable[[], Counters]] = {
    "cuda": lambda: _torch_counters("cuda"),
    "xpu": lambda: _torch_counters("xpu"),
    "mps": _mps_counters,
    "hpu": _hpu_counters,
}
