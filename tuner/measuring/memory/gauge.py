"""Peak memory of this process by phase, on the host and on the device."""

from __future__ import annotations

import contextlib
import platform
import threading
import time
from collections.abc import Callable

from search_space.trial import Peak
from tuner.measuring.memory.device import DeviceMemory
from tuner.measuring.memory.host import (
    FAULT_BYTES,
    HostReading,
    page_faults,
    read_host,
    reset_highest,
)

SET_UP = ("load", "record", "engine", "export", "calibrate", "quantize", "session")
"""The phases before the calls: their files are read once."""

HOST_SOURCES = {"Linux": "VmHWM", "Windows": "PeakWorkingSetSize"}
SAMPLE_S = 0.01


class HostPeak:
    """The host's peak since the phase began, without the gaps of sampling.

    A phase is cut into intervals. In each, what is kept (what the kernel cannot drop) is at most
    the interval's highest less the file pages that were there throughout; and it is at most what
    it was at the start and one page for each page fault since. The lower of the two is taken.
    """

    def __init__(self) -> None:
        reset_highest()
        self._last, self._faults = read_host(), page_faults()
        self.resident_bytes = 0
        self.kept_bytes = 0

    def sample(self) -> None:
        """End an interval and begin the next."""
        now, faults = read_host(), page_faults()
        reset_highest()
        self.resident_bytes = max(self.resident_bytes, highest(self._last, now))
        kept_bytes = most_kept(self._last, now, (faults - self._faults) * FAULT_BYTES)
        self.kept_bytes = max(self.kept_bytes, kept_bytes)
        self._last, self._faults = now, faults

    def peaks(self, phase: str) -> list[Peak]:
        """The peak that the budget is about, and beside it the resident memory."""
        source = HOST_SOURCES.get(platform.system(), "ru_maxrss")
        if phase not in SET_UP or platform.system() != "Linux":
            return [Peak("host", phase, source, self.resident_bytes)]
        return [
            Peak("host", phase, f"{source} less files", self.kept_bytes),
            Peak("host_resident", phase, source, self.resident_bytes),
        ]


def counted_bytes(process: int, phase: str) -> int:
    """The part of a process's memory that counts in the phase, 0 when it has gone."""
    with contextlib.suppress(OSError, RuntimeError):
        now = read_host(process)
        return now.kept_bytes if phase in SET_UP else now.resident_bytes + now.swapped_bytes
    return 0


def highest(before: HostReading, after: HostReading) -> int:
    """The most that was resident or swapped out between two samples."""
    return after.highest_bytes + max(before.swapped_bytes, after.swapped_bytes)


def most_kept(before: HostReading, after: HostReading, faulted_bytes: int) -> int:
    """The most that the kernel could not have dropped between two samples.

    ``faulted_bytes`` is the most memory that came in by page faults.
    """
    by_files = highest(before, after) - min(before.file_bytes, after.file_bytes)
    by_faults = before.kept_bytes + faulted_bytes
    return max(after.kept_bytes, min(by_files, by_faults))


class Sampler:
    """Takes samples again and again between ``start`` and ``stop``, in a thread of its own.

    The thread is there from the first: once memory is short, starting one may never return.
    """

    def __init__(self) -> None:
        self._callbacks: tuple[Callable[[], None], ...] = ()
        self._is_sampling = threading.Event()
        self._lock = threading.Lock()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while self._is_sampling.wait():
            time.sleep(SAMPLE_S)
            with self._lock:
                for callback in self._callbacks:
                    # The allocation that memory is short for is not this one.
                    with contextlib.suppress(MemoryError):
                        callback()

    def start(self, *callbacks: Callable[[], None]) -> None:
        """Begin to call these, if there are any."""
        self._callbacks = callbacks
        if callbacks:
            self._is_sampling.set()

    def stop(self) -> None:
        self._is_sampling.clear()
        with self._lock:
            self._callbacks = ()


class Gauge:
    """Reads the peaks of one phase after the other."""

    def __init__(self, device: str) -> None:
        self.device = DeviceMemory.of(device)
        self._phase = ""
        self._sampler = Sampler()
        self._limit_bytes: int | None = None
        self._stop: Callable[[int], None] = lambda device_bytes: None

    def stop_beyond(self, limit_bytes: int, stop: Callable[[int], None]) -> None:
        """Call ``stop`` once the trial holds more than this of a device without a limit."""
        self._limit_bytes, self._stop = limit_bytes, stop

    def _sample_device(self) -> None:
        assert self.device is not None
        self.device.sample()
        device_bytes = self.device.highest_bytes()
        if self._limit_bytes is not None and device_bytes > self._limit_bytes:
            self._stop(device_bytes)

    def begin(self, phase: str) -> None:
        """A phase begins. Nothing is sampled while the steady calls are timed."""
        self._phase = phase
        self._host = HostPeak()
        callbacks = []
        if phase in SET_UP:
            callbacks.append(self._host.sample)
        if self.device is not None:
            self.device.reset()
            if phase != "steady":
                callbacks.append(self._sample_device)
        self._sampler.start(*callbacks)

    def end(self) -> list[Peak]:
        """The peaks of the phase; raises RuntimeError where there is no reading."""
        self._sampler.stop()
        self._host.sample()
        peaks = self._host.peaks(self._phase)
        if self.device is not None:
            peaks.append(self.device.peak(self._phase))
        return peaks
