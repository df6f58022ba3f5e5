"""The phases of a trial, in its own process: announced, timed, with their peaks."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

from search_space.trial import Peak
from tuner.measuring.memory.gauge import Gauge


class Phases:
    """Announces each phase to the controller, and keeps the seconds and the peaks of each."""

    def __init__(self, folder: Path, device: str) -> None:
        self.seconds: dict[str, float] = {}
        self.name = ""
        self.gauge = Gauge(device)
        self._peaks: dict[tuple[str, str, str], int] = {}
        self._device = device
        self._folder = folder
        self._began_s = 0.0

    def enter(self, name: str) -> None:
        """End the last phase and begin this one."""
        self.leave()
        self.name = name
        with (self._folder / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"phase": name, "at_s": time.monotonic()}) + "\n")
        self.gauge.begin(name)
        self._began_s = time.perf_counter()

    def leave(self) -> None:
        """End the phase: its seconds are added up and its peaks are read."""
        from tuner.measuring.calls import synchronize

        if not self.name:
            return
        synchronize(self._device)
        phase_s = time.perf_counter() - self._began_s
        self.seconds[self.name] = self.seconds.get(self.name, 0.0) + phase_s
        for peak in self.gauge.end():
            key = (peak.place, peak.phase, peak.source)
            self._peaks[key] = max(peak.peak_bytes, self._peaks.get(key, 0))
        self.name = ""

    @property
    def peaks(self) -> tuple[Peak, ...]:
        """The peak of each phase, without the comparison of images, which is not the config's."""
        peaks = self._peaks.items()
        return tuple(Peak(*key, peak_bytes) for key, peak_bytes in peaks if key[1] != "check")

    def held_bytes(self, place: str) -> int | None:
        """The highest peak so far, None where none was read."""
        # A device that has failed may not answer any more.
        with contextlib.suppress(RuntimeError):
            self.leave()
        return max((peak.peak_bytes for peak in self.peaks if peak.place == place), default=None)
