"""The host memory of processes, by the kernel's own account."""

from __future__ import annotations

import contextlib
import mmap
import os
import platform
import time
from dataclasses import dataclass

KILOBYTE = 1024
"""Linux writes kB and means 1024 bytes: proc_pid_status(5)."""

YOUNG_S = 0.1
"""A process younger than this may be its parent's memory itself, on its way to another program."""


@dataclass(frozen=True)
class HostReading:
    """The host memory of one process now, and its highest since the last reset.

    Of what is resident, ``file_bytes`` are pages of mapped files.
    """

    highest_bytes: int
    resident_bytes: int
    file_bytes: int
    swapped_bytes: int

    @property
    def kept_bytes(self) -> int:
        """What the kernel cannot drop: anonymous, shared and swapped memory."""
        return self.resident_bytes - self.file_bytes + self.swapped_bytes


def read_host(process: int | str = "self") -> HostReading:
    """The account of one process; raises RuntimeError where the host gives none.

    Never ``ru_maxrss`` on Linux: a child inherits it from its parent.
    """
    if platform.system() == "Linux":
        with open(f"/proc/{process}/status") as file:
            return parse_status(file.read())
    import psutil

    memory = psutil.Process(None if process == "self" else int(process)).memory_info()
    if platform.system() == "Windows":
        return HostReading(memory.peak_wset, memory.rss, 0, 0)
    import resource

    # macOS counts it in bytes.
    highest_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if process == "self" else 0
    return HostReading(max(highest_bytes, memory.rss), memory.rss, 0, 0)


def parse_status(text: str) -> HostReading:
    """The account in the words of Linux's ``/proc/PID/status``; raises RuntimeError."""
    lines = (line.partition(":") for line in text.splitlines())
    values = {name: value.split() for name, _, value in lines}
    try:
        sizes = (
            int(values[name][0]) * KILOBYTE for name in ("VmHWM", "VmRSS", "RssFile", "VmSwap")
        )
        return HostReading(*sizes)
    except KeyError as error:
        raise RuntimeError(f"the kernel gives no {error.args[0]}: no peak to be measured") from None


def page_faults() -> int:
    """How many page faults this process has had, with all its threads."""
    if platform.system() == "Windows":
        return 0
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_minflt + usage.ru_majflt


def _fault_bytes() -> int:
    """The most memory that one page fault brings: a huge page where every mapping may have them."""
    with contextlib.suppress(OSError), open(f"{HUGE_PAGES}/enabled") as file:
        if "[always]" in file.read():
            with open(f"{HUGE_PAGES}/hpage_pmd_size") as size:
                return int(size.read())
    return mmap.PAGESIZE


HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage"
FAULT_BYTES = _fault_bytes()


def reset_highest() -> None:
    """On Linux, count the highest anew from now."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def kept_bytes(process: int) -> int:
    """What a process holds now that the kernel cannot drop, 0 when it has gone."""
    import psutil

    # The account of a process that is ending has no sizes left.
    with contextlib.suppress(OSError, RuntimeError, psutil.Error):
        return read_host(process).kept_bytes
    return 0


def of_descendants(process: int) -> int:
    """What the descendants of a process hold beside it, memory that they share counted once.

    Where the host does not say what is shared, it is counted in each of them.
    """
    import psutil

    with contextlib.suppress(psutil.Error):
        ancestor = psutil.Process(process)
        descendants = _descendants(process)
        program = ancestor.cmdline() if descendants else []
        return sum(_own_bytes(descendant, program) for descendant in descendants)
    return 0


def _descendants(process: int) -> list[int]:
    """The numbers of all that a process has started, and what those have."""
    import psutil

    # The kernel's own list where there is one: psutil asks every process of the machine.
    if os.path.exists(f"/proc/{process}/task/{process}/children"):
        children = [child for thread in _threads(process) for child in _started_by(process, thread)]
        return [*children, *(far for child in children for far in _descendants(child))]
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(process).children(recursive=True)]
    return []


def _threads(process: int) -> list[str]:
    with contextlib.suppress(OSError):
        return os.listdir(f"/proc/{process}/task")
    return []


def _started_by(process: int, thread: str) -> list[int]:
    with contextlib.suppress(OSError), open(f"/proc/{process}/task/{thread}/children") as file:
        return [int(child) for child in file.read().split()]
    return []


def _own_bytes(descendant: int, program: list[str]) -> int:
    """The share of one descendant; of a mere fork of its ancestor, only what it has changed."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(descendant)
        if time.time() - process.create_time() < YOUNG_S:
            return 0
        try:
            memory = process.memory_full_info()
            if not hasattr(memory, "pss"):
                return int(memory.rss)
            own = memory.uss if process.cmdline() == program else memory.pss
            return int(own + memory.swap)
        except psutil.AccessDenied:
            return int(process.memory_info().rss)
    return 0
