"""Peak memory of this process by phase, on the host and on the device."""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable

from search_space.trial import Peak
from tuner.device_memory import DeviceMemory
from tuner.host_memory import held, reset_highest

SET_UP = ("load", "record", "engine", "export", "quantize", "session")
"""The phases before the calls: their files are read once."""

HOST_SOURCES = {"Linux": "VmHWM", "Windows": "PeakWorkingSetSize"}
SAMPLE_S = 0.01


class HostPeak:
    """The host's peak since the phase began.

    A phase is cut into intervals, each with a highest of its own. In one interval, what the kernel
    could not have dropped is at most its highest less the file pages that were there throughout.
    """

    def __init__(self) -> None:
        reset_highest()
        self._last = held()
        self.resident_bytes = 0
        self.kept_bytes = 0

    def look(self) -> None:
        """End an interval and begin the next."""
        now = held()
        reset_highest()
        swapped = max(self._last.swapped_bytes, now.swapped_bytes)
        file_bytes = min(self._last.file_bytes, now.file_bytes)
        highest = now.highest_bytes + swapped
        self.resident_bytes = max(self.resident_bytes, highest)
        self.kept_bytes = max(self.kept_bytes, highest - file_bytes)
        self._last = now

    def peaks(self, phase: str) -> list[Peak]:
        """What the budget is about, and beside it what was resident."""
        source = HOST_SOURCES.get(platform.system(), "ru_maxrss")
        if phase not in SET_UP or platform.system() != "Linux":
            return [Peak("host", phase, source, self.resident_bytes)]
        return [
            Peak("host", phase, f"{source} less RssFile", self.kept_bytes),
            Peak("host_resident", phase, source, self.resident_bytes),
        ]


class Sampler:
    """Looks again and again, in a thread of its own, until it is stopped."""

    def __init__(self, *looks: Callable[[], None]) -> None:
        self._looks = looks
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        if looks:
            self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(SAMPLE_S):
            for look in self._looks:
                look()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        if self._looks:
            self._thread.join()


class Gauge:
    """Reads the peaks of one phase after the other."""

    def __init__(self, device: str) -> None:
        self.device = DeviceMemory.of(device)
        self._phase = ""

    def begin(self, phase: str) -> None:
        """A phase begins. Nothing is sampled while the steady calls are timed."""
        self._phase = phase
        self._host = HostPeak()
        looks = []
        if phase in SET_UP:
            looks.append(self._host.look)
        if self.device is not None:
            self.device.reset()
            if phase != "steady":
                looks.append(self.device.look)
        self._sampler = Sampler(*looks)

    def end(self) -> list[Peak]:
        """The peaks of the phase; raises RuntimeError where there is no reading."""
        self._sampler.stop()
        self._host.look()
        peaks = self._host.peaks(self._phase)
        if self.device is not None:
            peaks.append(self.device.peak(self._phase))
        return peaks
