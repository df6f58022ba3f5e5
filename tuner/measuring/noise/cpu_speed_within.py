"""The CPU speed probe within a call, between the call's own work.

What slows a virtual machine down from outside comes and goes within a second: within a call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tuner.measuring.noise.hashing import best_s, choose

WORK = bytes(2**14)
"""Small enough for a core's first cache, whatever the call has left there: the first of the rounds
brings it in."""

ROUNDS = 2
"""The first brings the work into the core's cache, the second is timed there."""

SHARE = 0.0025
"""The most of a core's time that probes take, so that the call does not feel them."""

LEAST_REST_S = 0.08
"""Shorter rests wake a thread beside the call's own more often; longer ones leave calls of half a
second with too few probes (`LEAST_LOOKS`)."""


class Within:
    """Probes these cores again and again between ``start`` and ``stop``, by a thread on each."""

    def __init__(self, cores: Sequence[int] = ()) -> None:
        self._probes_s: dict[int, list[float]] = {core: [] for core in cores}
        self._is_probing = threading.Event()
        self._is_closed = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(core,), daemon=True) for core in cores
        ]
        for thread in self._threads:
            thread.start()

    def start(self) -> None:
        """Begin to probe."""
        self._probes_s = {core: [] for core in self._probes_s}
        self._is_probing.set()

    def stop(self) -> list[list[float]]:
        """End probing; the probes of each core, in seconds."""
        self._is_probing.clear()
        return list(self._probes_s.values())

    def close(self) -> None:
        """End the threads, before anyone counts the threads of this process."""
        self._is_closed.set()
        self._is_probing.set()
        for thread in self._threads:
            thread.join()

    def _run(self, core: int) -> None:
        # To go from core to core would cost the call more than the probes do.
        choose(core)
        while self._is_probing.wait() and not self._is_closed.is_set():
            began_s = time.thread_time()
            # A thread that dies of it would probe no more; memory may be short for a moment.
            with suppress(MemoryError):
                self._probe(core)
            rest_s = max(LEAST_REST_S, (time.thread_time() - began_s) / SHARE)
            # All at the same moments: threads of the call that wait for each other wait once.
            self._is_closed.wait(rest_s - time.monotonic() % rest_s)

    def _probe(self, core: int) -> None:
        probes_s, probe_s = self._probes_s, best_s(WORK, ROUNDS)
        # A probe that began in one call and ended in another says nothing of either.
        if probe_s is not None and self._is_probing.is_set() and probes_s is self._probes_s:
            probes_s[core].append(probe_s)


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
