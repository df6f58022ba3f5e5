"""What else the machine does while calls are timed: neighbours, heat, quotas, the battery.

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
from tuner.measuring.noise.cpu_speed import RECENT_S, SpeedProbe
from tuner.measuring.noise.cpu_speed_within import Within, may_be_shared
from tuner.measuring.noise.hashing import few
from tuner.measuring.noise.nvml import GpuWatch
from tuner.processes.tree import CONTROLLER

LEAST_CORES = 0.1
"""Others disturb a call from this many cores on."""

LEAST_SHARE = 0.01
"""Others disturb a call from this share of all cores on, where that is more."""

RESOLUTION_S = 0.03
"""The kernel counts the time of all processes in ticks of 10 ms; this much may be rounding."""

WINDOW_S = 0.3
"""A shorter call is judged by what others did in this time before its end."""

FAMILY_S = 1.0
"""The list of the run's own processes is read again after this long."""

CALM_S = 1.0
"""The machine is calm after this long without neighbours."""

LEAST_WAIT_S = 3.0
"""A trial waits for a calm machine as long as its calls have taken, and at least this long."""

MOST_WAIT_S = 30.0
"""A trial waits for a calm machine no longer than this."""


@dataclass(frozen=True)
class Reading:
    """What the counters of the machine say at one moment; all of them only grow.

    ``busy_s`` is the time that the cores were taken, by processes or by the hypervisor, ``ours_s``
    what this run has used of it.
    """

    taken_s: float
    busy_s: float
    ours_s: float
    heat_throttles: int = 0
    quota_throttles: int = 0


def seen_between(before: Reading, after: Reading, cores: int) -> tuple[Condition, ...]:
    """What happened between two readings on this many cores."""
    spent_s = max(after.taken_s - before.taken_s, 1e-9)
    others_s = max(0.0, (after.busy_s - before.busy_s) - (after.ours_s - before.ours_s))
    others = others_s / spent_s
    limit = max(LEAST_CORES, LEAST_SHARE * cores)
    busy = f"other processes took {others:.1f} cores" if others > limit else ""
    found = [Condition(OTHERS_CORES, others, busy if others_s > RESOLUTION_S else "")]
    hot = after.heat_throttles - before.heat_throttles
    if hot:
        found.append(Condition("heat_throttles", hot, "the processor was slowed down by its heat"))
    held = after.quota_throttles - before.quota_throttles
    if held:
        # Whoever deploys within this quota meets it too: it is kept, and no reason to repeat.
        found.append(Condition("quota_throttles", held))
    return tuple(found)


def taken_s(times: Any) -> float:
    """How long a core was taken, of what psutil says of it."""
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
        """How many these are."""
        return len(self.places)

    def read(self) -> Reading:
        """The counters now."""
        heat, quota = heat_throttles(self._heat), quota_throttles(self._quota)
        return Reading(time.monotonic(), self._busy_s(), self._ours_s(), heat, quota)

    def _allowed(self) -> list[int]:
        import psutil

        if hasattr(self._controller, "cpu_affinity"):
            return list(self._controller.cpu_affinity())
        return list(range(psutil.cpu_count() or 1))

    def _busy_s(self) -> float:
        import psutil

        cores = psutil.cpu_times(percpu=True)
        return sum(taken_s(cores[place]) for place in self.places if place < len(cores))

    def _ours_s(self) -> float:
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
    """Watches the machine while a trial's calls are timed, and waits until it is calm.

    ``probe_s`` is the best speed of the processor in this run so far, see ``cpu_speed``.
    """

    def __init__(self, device: str, probe_s: float | None = None) -> None:
        self._counters = Counters(int(os.environ.get(CONTROLLER, os.getpid())))
        self._gpu = GpuWatch(device)
        # Beside an accelerator one thread works, and the other cores sleep.
        cores = few(self._counters.places) if device == "cpu" else ()
        self.probe = SpeedProbe(cores, probe_s, Within(cores if may_be_shared(cores) else ()))
        self._last = self._counters.read()
        self._readings = [self._last]
        self._page_faults = 0
        self._called_s = 0.0
        self._waited_s = 0.0

    def begin(self) -> None:
        """A call begins."""
        since_s = time.monotonic() - self._last.taken_s
        now = self._last if since_s < RECENT_S else self._counters.read()
        if now.taken_s - self._readings[-1].taken_s > WINDOW_S:
            # The model was loaded since, or a neighbour waited out.
            self._readings.clear()
        self._readings.append(now)
        while len(self._readings) > 1 and now.taken_s - self._readings[1].taken_s > WINDOW_S:
            del self._readings[0]
        self._gpu.begin()
        self.probe.begin()
        self._page_faults = page_faults()

    def end(self) -> tuple[Condition, ...]:
        """What was seen since the call began, or a little before where it was short."""
        faults = Condition("page_faults", page_faults() - self._page_faults)
        gpu, probe = self._gpu.end(), self.probe.end()
        now = self._last = self._counters.read()
        self._called_s += now.taken_s - self._readings[-1].taken_s
        old = [seen for seen in self._readings if now.taken_s - seen.taken_s >= WINDOW_S]
        before = old[-1] if old else self._readings[0]
        return (*self._since(before, now), *gpu, *probe, faults)

    def calm(self) -> bool:
        """Wait until nothing disturbs; whether that came about within the trial's patience."""
        patience_s = min(MOST_WAIT_S, max(LEAST_WAIT_S, self._called_s))
        while self._waited_s + CALM_S <= patience_s:
            self._waited_s += CALM_S
            before = self._counters.read()
            self._gpu.begin()
            seen = self.probe.resting(CALM_S)
            seen += (*self._gpu.end(), *self._since(before, self._counters.read()))
            if not any(condition.complaint for condition in seen):
                return True
        return False

    def close(self) -> None:
        """No more calls are made."""
        self.probe.close()

    def judged(self, seen: tuple[Condition, ...]) -> tuple[Condition, ...]:
        """What was seen beside a call, judged by all that is known by now."""
        return self.probe.judged(seen)

    def _since(self, before: Reading, now: Reading) -> tuple[Condition, ...]:
        return seen_between(before, now, self._counters.cores)


def standing() -> tuple[Condition, ...]:
    """What holds for the whole trial: load, battery, governor."""
    import psutil

    found = [Condition("load_average", psutil.getloadavg()[0])]
    # There is no function for it where psutil knows no battery at all.
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    if battery is not None and battery.power_plugged is False:
        found.append(Condition("on_battery", 1.0, "the machine runs on its battery"))
    if powersave(Path("/sys/devices/system/cpu/cpu0/cpufreq")):
        saving = "the frequency governor is powersave"
        found.append(Condition("powersave_governor", 1.0, saving))
    return tuple(found)


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
    """What tells of the processor quota of this process's group."""
    found = []
    for line in _text(groups).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            found.append(system / path.lstrip("/") / "cpu.stat")
        elif "cpu" in controllers.split(","):
            found.append(system / controllers / path.lstrip("/") / "cpu.stat")
            found.append(system / "cpu" / path.lstrip("/") / "cpu.stat")
    return [path for path in found if os.path.exists(path)]


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
