"""How fast the processor computes while a call runs, by looks between the call's own work.

What slows a virtual machine down from outside comes and goes within a second: within a call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tuner.hashing import best_s, choose

WORK = bytes(2**13)
"""Small enough for a core's first cache, whatever the call has left there: the first of the rounds
brings it in."""

ROUNDS = 2
SHARE = 0.0025
"""Of a core's time, at most: the call is to feel nothing of it."""

LEAST_REST_S = 0.04


class Within:
    """Looks at these cores again and again when told to, by a thread on each."""

    def __init__(self, cores: Sequence[int]) -> None:
        self._looks_s: list[float] = []
        self._wanted = threading.Event()
        for core in cores:
            threading.Thread(target=self._run, args=(core,), daemon=True).start()

    def start(self) -> None:
        """Begin to look."""
        self._looks_s = []
        self._wanted.set()

    def stop(self) -> list[float]:
        """Look no more; what the looks have seen, in seconds each."""
        self._wanted.clear()
        return self._looks_s

    def _run(self, core: int) -> None:
        # To change the core for each look would cost the call more than the look does.
        choose(core)
        while self._wanted.wait():
            began_s = time.thread_time()
            # A thread that dies of it would look no more; memory may be short for a moment.
            with suppress(MemoryError):
                self._look()
            time.sleep(max(LEAST_REST_S, (time.thread_time() - began_s) / SHARE))

    def _look(self) -> None:
        looks_s, found_s = self._looks_s, best_s(WORK, ROUNDS)
        # A look that began in one call and ended in another is no look at either.
        if found_s is not None and self._wanted.is_set() and looks_s is self._looks_s:
            looks_s.append(found_s)


def may_be_shared(
    cores: Sequence[int],
    processors: Path = Path("/proc/cpuinfo"),
    system: Path = Path("/sys/devices/system/cpu"),
) -> bool:
    """Whether others may compute on the second threads of these cores, by Linux's account.

    So it is in a virtual machine that is shown no second threads. Elsewhere a core is faster or
    slower by what the call itself does on the others, and a look says nothing about anyone else.
    """
    with suppress(OSError):
        siblings = [
            (system / f"cpu{core}" / "topology" / "thread_siblings_list").read_text().strip()
            for core in cores
        ]
        virtual = "hypervisor" in processors.read_text(encoding="utf-8", errors="replace").split()
        return virtual and all(sibling.isdigit() for sibling in siblings)
    return False
