"""The conditions of the machine while calls are timed: neighbours, heat, quotas, the battery.

What the run itself uses is not counted as a neighbour: the controller, the fork server and all that
they have started.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_space.trial import OTHERS_CORES, Condition
from tuner.measuring.memory.host import page_faults
from tuner.measuring.noise.nvml import GpuWatch
from tuner.processes.tree import CONTROLLER

LEAST_CORES = 0.1
"""Others disturb a call from this many cores on: less may be rounding, which is `RESOLUTION_S` of
`WINDOW_S`."""

LEAST_SHARE = 0.01
"""Others disturb a call from this share of all cores on, where that is more."""

RESOLUTION_S = 0.03
"""The kernel counts the time of all processes in ticks of 10 ms; this much may be rounding."""

WINDOW_S = 0.3
"""A shorter call is judged by what others did in this time before its end."""

FAMILY_S = 1.0
"""The list of the run's own processes is read again after this long."""

RECENT_S = 0.05
"""A reading stands for this long: from the end of a call to the beginning of the next."""


@dataclass(frozen=True)
class Reading:
    """The counters of the machine at one moment; all of them only grow.

    ``busy_s`` is the time that the cores were taken, by processes or by the hypervisor; ``own_s``
    is this run's share of it.
    """

    read_at_s: float
    busy_s: float
    own_s: float
    heat_throttles: int = 0
    quota_throttles: int = 0


def conditions_between(before: Reading, after: Reading, cores: int) -> tuple[Condition, ...]:
    """The conditions between two readings, on this many cores."""
    elapsed_s = max(after.read_at_s - before.read_at_s, 1e-9)
    others_s = max(0.0, (after.busy_s - before.busy_s) - (after.own_s - before.own_s))
    others_cores = others_s / elapsed_s
    limit = max(LEAST_CORES, LEAST_SHARE * cores)
    busy = f"other processes took {others_cores:.1f} cores" if others_cores > limit else ""
    conditions = [Condition(OTHERS_CORES, others_cores, busy if others_s > RESOLUTION_S else "")]
    heat_throttles = after.heat_throttles - before.heat_throttles
    if heat_throttles:
        conditions.append(
            Condition("heat_throttles", heat_throttles, "the processor was slowed down by its heat")
        )
    throttles = after.quota_throttles - before.quota_throttles
    if throttles:
        # Whoever deploys within this quota meets it too: it is kept, and no reason to repeat.
        conditions.append(Condition("quota_throttles", throttles))
    return tuple(conditions)


def core_busy_s(times: Any) -> float:
    """How long a core was busy, by psutil's times of it."""
    # Guests are counted as users as well.
    idle = ("idle", "iowait", "guest", "guest_nice")
    return float(sum(times) - sum(getattr(times, name, 0.0) for name in idle))


class Counters:
    """The counters of the machine, for the run whose controller is ``controller_pid``."""

    def __init__(self, controller_pid: int) -> None:
        import psutil

        self._controller = psutil.Process(controller_pid)
        self._family: list[Any] = []
        self._family_s = float("-inf")
        self._heat = heat_counters()
        self._quota = quota_files()
        self.places = self._allowed()
        """The logical cores that the run may use: neighbours on others do not matter."""

    @property
    def cores(self) -> int:
        """How many cores the run may use."""
        return len(self.places)

    def read(self) -> Reading:
        heat, quota = heat_throttles(self._heat), quota_throttles(self._quota)
        return Reading(time.monotonic(), self._busy_s(), self._own_s(), heat, quota)

    def _allowed(self) -> list[int]:
        import psutil

        if hasattr(self._controller, "cpu_affinity"):
            return list(self._controller.cpu_affinity())
        return list(range(psutil.cpu_count() or 1))

    def _busy_s(self) -> float:
        import psutil

        cores = psutil.cpu_times(percpu=True)
        return sum(core_busy_s(cores[place]) for place in self.places if place < len(cores))

    def _own_s(self) -> float:
        import psutil

        if time.monotonic() - self._family_s > FAMILY_S:
            self._family = [self._controller, *self._controller.children(recursive=True)]
            self._family_s = time.monotonic()
        used_s = 0.0
        for process in self._family:
            # The time of a process that has ended is among that of its parent's children.
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                used_s += sum(times[:2]) + sum(times[2:4])
        return used_s


class Guard:
    """Watches the machine while a trial's calls are timed."""

    def __init__(self, device: str) -> None:
        self._counters = Counters(int(os.environ.get(CONTROLLER, os.getpid())))
        self._gpu = GpuWatch(device)
        self._last = self._counters.read()
        self._readings = [self._last]
        self._page_faults = 0

    def begin(self) -> None:
        """A call begins."""
        since_s = time.monotonic() - self._last.read_at_s
        now = self._last if since_s < RECENT_S else self._counters.read()
        if now.read_at_s - self._readings[-1].read_at_s > WINDOW_S:
            # The model was loaded since, or another trial has computed.
            self._readings.clear()
        self._readings.append(now)
        while len(self._readings) > 1 and now.read_at_s - self._readings[1].read_at_s > WINDOW_S:
            del self._readings[0]
        self._gpu.begin()
        self._page_faults = page_faults()

    def end(self) -> tuple[Condition, ...]:
        """The conditions since the call began, or since a little before where it was short."""
        faults = Condition("page_faults", page_faults() - self._page_faults)
        gpu = self._gpu.end()
        last = self._last = self._counters.read()
        settled_readings = [
            reading for reading in self._readings if last.read_at_s - reading.read_at_s >= WINDOW_S
        ]
        first = settled_readings[-1] if settled_readings else self._readings[0]
        return (*conditions_between(first, last, self._counters.cores), *gpu, faults)


def trial_conditions() -> tuple[Condition, ...]:
    """The conditions of the whole trial: load, battery, governor."""
    import psutil

    conditions = [Condition("load_average", psutil.getloadavg()[0])]
    # There is no function for it where psutil knows no battery at all.
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    if battery is not None and battery.power_plugged is False:
        conditions.append(Condition("on_battery", 1.0, "the machine runs on its battery"))
    if powersave(Path("/sys/devices/system/cpu/cpu0/cpufreq")):
        complaint = "the frequency governor is powersave"
        conditions.append(Condition("powersave_governor", 1.0, complaint))
    return tuple(conditions)


def powersave(folder: Path) -> bool:
    """Whether cores are held at their lowest clock; drivers with a scale of their own do not."""
    driver, governor = _text(folder / "scaling_driver"), _text(folder / "scaling_governor")
    return governor == "powersave" and not driver.startswith(("intel_pstate", "amd-pstate"))


def heat_counters(system: Path = Path("/sys/devices/system/cpu")) -> list[Path]:
    """Where Intel's processors count how often cores and packages were slowed down by heat."""
    return list(system.glob("cpu[0-9]*/thermal_throttle/*_throttle_count"))


def heat_throttles(counters: Iterable[Path]) -> int:
    """How often heat has slowed the processor down, by these counters."""
    return sum(_number(path) for path in counters)


def quota_files(
    groups: Path = Path("/proc/self/cgroup"), system: Path = Path("/sys/fs/cgroup")
) -> list[Path]:
    """The files that count how often the quota has stopped this process's group."""
    files = []
    for line in _text(groups).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            files.append(system / path.lstrip("/") / "cpu.stat")
        elif "cpu" in controllers.split(","):
            files.append(system / controllers / path.lstrip("/") / "cpu.stat")
            files.append(system / "cpu" / path.lstrip("/") / "cpu.stat")
    return [path for path in files if os.path.exists(path)]


def quota_throttles(files: Iterable[Path]) -> int:
    """How often the quota has stopped the processes of the group, by the first that counts it."""
    for path in files:
        for line in _text(path).splitlines():
            if line.startswith("nr_throttled "):
                return int(line.split()[1])
    return 0


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8").strip()
    return ""


def _number(path: Path) -> int:
    text = _text(path)
    return int(text) if text.isdigit() else 0
