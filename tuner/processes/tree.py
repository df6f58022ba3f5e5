"""Process trees: how they start, end and die with their controller."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from tuner import precedence

CONTROLLER = "TUNE_CONTROLLER_PID"
"""The environment variable in which a child finds the process that the whole run hangs from."""


FOLDER = "TUNE_FOLDER"
"""The environment variable by which the processes that a task has started are known: its folder."""

TEMPORARY = "TMPDIR"
"""The environment variable that has temporary files of all tasks lie in the folder of the run. Not
in the task's: torch precompiles headers there, once for all."""


def interpreter(*arguments: str) -> list[str]:
    """The command that starts the fork server, or a single task, in a new interpreter."""
    command = [sys.executable, "-P", "-W", "ignore", precedence.__file__]
    return [*command, "tuner.processes.forkserver", *arguments]


def kill_tree(pid: int) -> None:
    """Kill a process, its group and every descendant, also those that left the group."""
    import psutil

    descendants = []
    with contextlib.suppress(psutil.NoSuchProcess):
        descendants = psutil.Process(pid).children(recursive=True)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGKILL)
    for process in descendants:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).kill()


def start_of(pid: int) -> float | None:
    """When a process began, which tells it from a later one of the same number; None without it."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        return float(psutil.Process(pid).create_time())
    return None


def kill_remains(pid: int, start: float | None) -> None:
    """Kill a process that may have gone, and its group, unless its number has become another's."""
    if start_of(pid) in (start, None):
        kill_tree(pid)


def kill_orphans(folder: str) -> None:
    """Kill what a task that has ended left at work: whatever has its temporary files there."""
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(FOLDER) == folder:
                process.kill()


def die_with_parent(parent_pid: int) -> None:
    """On Linux the kernel kills this process when its parent goes, however it goes."""
    if sys.platform != "linux":
        return
    import ctypes

    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def be_first_to_go() -> None:
    """When memory runs out, the kernel shall kill the trial and not the controller."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def out_of_memory_kills() -> int:
    """How many processes the kernel has killed for memory since the machine started."""
    with contextlib.suppress(OSError), open("/proc/vmstat") as file:
        for line in file:
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
