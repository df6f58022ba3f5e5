"""How fast the processor computes: a fixed piece of work, timed between the calls.

A virtual machine is slowed down from outside, by a third or a half where another tenant computes on
the second thread of its cores. The kernel counts that as time of our own, and no counter shows it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

from search_space.trial import Condition, Trial

PACE = "pace_s"
"""The kind of the condition that says how long the work took."""

SLOW = 1.15
"""From so many times the best pace on, a call is disturbed."""

WORK = bytes(2**20)
"""What is hashed, by BLAKE2b, which keeps all of a core's arithmetic busy: what waits for its own
results, as SHA-256 does, hardly feels who is on the core's other thread."""

ROUNDS = 4
MOST_CORES = 4
LEARN_S = 1.0
RECENT_S = 0.05
"""As long as a pace stands for now: from the end of a call to the begin of the next."""


class Pace:
    """The pace of these cores, of which ``best_s`` is the best so far; kept up to date.

    Where the system does not let a thread choose its core, nothing is measured.
    """

    def __init__(self, cores: Sequence[int], best_s: float | None) -> None:
        self._cores = few(cores) if measurable() else []
        self._taken: tuple[float, float | None] = (float("-inf"), None)
        self._best_s = best_s

    def learn(self) -> None:
        """Look for a second where nothing is known yet: the best of many is the core's own."""
        end_s = time.monotonic() + LEARN_S
        while self._best_s is None or time.monotonic() < end_s:
            if self.take() is None:
                return

    def take(self) -> float | None:
        """The seconds of the work on the slowest core now, or None."""
        if not self._cores:
            return None
        found_s = slowest_s(self._cores)
        self._best_s = min(found_s, self._best_s or found_s)
        self._taken = (time.monotonic(), found_s)
        return found_s

    def recent(self) -> float | None:
        """What was taken last, or now where that is long ago."""
        taken_s, found_s = self._taken
        return found_s if time.monotonic() - taken_s < RECENT_S else self.take()

    def seen(self, *paces_s: float | None) -> tuple[Condition, ...]:
        """The slowest of these paces as a condition of the call that lies between them."""
        known_s = [pace_s for pace_s in paces_s if pace_s is not None]
        if not known_s or self._best_s is None:
            return ()
        share = self._best_s / max(known_s)
        complaint = f"the processor computed at {share:.0%} of its pace" if 1 / share > SLOW else ""
        return (Condition(PACE, max(known_s), complaint),)


def measurable() -> bool:
    """Whether a thread may choose its core here."""
    return hasattr(os, "sched_setaffinity")


def few(cores: Sequence[int]) -> Sequence[int]:
    """Some of the cores, evenly spread."""
    return cores[:: -(-len(cores) // MOST_CORES) or 1]


def slowest_s(cores: Sequence[int]) -> float:
    """The processor's seconds that the work takes on the slowest of these cores."""
    allowed = os.sched_getaffinity(0)
    try:
        return max(_work_s(core) for core in cores)
    finally:
        os.sched_setaffinity(0, allowed)


def _work_s(core: int) -> float:
    """The best of a few rounds, less what others have of the core, which is counted elsewhere."""
    with suppress(OSError):  # A core that is gone: any other one is as good.
        os.sched_setaffinity(0, {core})
    # A core that has slept does not begin at its full clock.
    return min(_hash_s() for _ in range(ROUNDS))


def _hash_s() -> float:
    began_s = time.thread_time()
    hashlib.blake2b(WORK)
    return time.thread_time() - began_s


def best_pace_s(trials: Iterable[Trial]) -> float | None:
    """The best pace that was seen beside any call of these trials."""
    measured = [trial.measurement for trial in trials]
    found = [known for one in measured if one for known in one.conditions]
    return min((known.value for known in found if known.kind == PACE), default=None)
