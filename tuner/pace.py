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
from dataclasses import replace

from search_space.trial import Condition, Trial

PACE = "pace_s"
"""The kind of the condition of a call: how long the work took beside it."""

BEST_PACE = "best_pace_s"
"""The kind of the condition of a trial: the shortest time of the work beside its calls."""

SLOW = 1.15
"""Beyond so many times the best pace a call is disturbed."""

WORK = bytes(2**20)
"""What is hashed, by BLAKE2b, which keeps all of a core's arithmetic busy: what waits for its own
results, as SHA-256 does, hardly feels who is on the core's other thread."""

ROUNDS = 4
MOST_CORES = 4
RECENT_S = 0.05
"""As long as a pace stands for now: from the end of a call to the begin of the next."""


class Pace:
    """The pace of these cores or, without any, of the one that the thread is on.

    ``best_s`` is the best pace that was seen beside a call of this run.
    """

    def __init__(self, cores: Sequence[int], best_s: float | None = None) -> None:
        self._cores = few(cores)
        self._known_s = best_s
        self._own_s: float | None = None
        self._taken: tuple[float, float | None] = (float("-inf"), None)

    @property
    def best_s(self) -> float | None:
        """The best pace so far, in seconds."""
        return shorter_s(self._known_s, self._own_s)

    def take(self) -> float | None:
        """The seconds of the work now, at the begin or the end of a call."""
        found_s = self.now()
        self._own_s = shorter_s(found_s, self._own_s)
        self._taken = (time.monotonic(), found_s)
        return found_s

    def recent(self) -> float | None:
        """What was taken last, or now where that is long ago."""
        taken_s, found_s = self._taken
        return found_s if time.monotonic() - taken_s < RECENT_S else self.take()

    def now(self) -> float | None:
        """The seconds of the work; what looks slow is looked at twice, for a core may have slept.

        None where the thread's clock is too coarse.
        """
        found_s = slowest_s(self._cores)
        if found_s is not None and self._slow(found_s):
            found_s = shorter_s(found_s, slowest_s(self._cores))
        return found_s

    def seen(self, *paces_s: float | None) -> tuple[Condition, ...]:
        """The slowest of these paces as a condition of the call that lies between them."""
        known_s = [pace_s for pace_s in paces_s if pace_s is not None]
        return self.judged((Condition(PACE, max(known_s)),)) if known_s else ()

    def judged(self, conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
        """The conditions, those of the pace judged by the best one that is known by now."""
        return tuple(
            replace(seen, complaint=self._complaint(seen.value)) if seen.kind == PACE else seen
            for seen in conditions
        )

    def own(self) -> tuple[Condition, ...]:
        """The best pace of this trial, as a condition of the trial."""
        return () if self._own_s is None else (Condition(BEST_PACE, self._own_s),)

    def _slow(self, pace_s: float) -> bool:
        return self.best_s is not None and pace_s > SLOW * self.best_s

    def _complaint(self, pace_s: float) -> str:
        if self.best_s is None or not self._slow(pace_s):
            return ""
        return f"the processor computed at {self.best_s / pace_s:.0%} of its best pace"


def few(cores: Sequence[int]) -> Sequence[int]:
    """Some of the cores, evenly spread; none where a thread cannot choose its core."""
    if not hasattr(os, "sched_setaffinity"):
        return ()
    return cores[:: -(-len(cores) // MOST_CORES) or 1]


def slowest_s(cores: Sequence[int]) -> float | None:
    """The seconds of the work on the slowest of these cores, or where the thread is; or None."""
    if not cores:
        return _work_s()
    allowed = os.sched_getaffinity(0)
    try:
        return max(_work_s(core) or 0.0 for core in cores) or None
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, allowed)


def _work_s(core: int | None = None) -> float | None:
    """The best of a few rounds, less what others have of the core, which is counted elsewhere."""
    if core is not None:
        with suppress(OSError):  # A core that is gone, or may not be chosen: any is as good.
            os.sched_setaffinity(0, {core})
    return min(_hash_s() for _ in range(ROUNDS)) or None


def _hash_s() -> float:
    began_s = time.thread_time()
    hashlib.blake2b(WORK)
    return time.thread_time() - began_s


def shorter_s(*paces_s: float | None) -> float | None:
    """The best of these paces, as far as they are known."""
    return min((pace_s for pace_s in paces_s if pace_s is not None), default=None)


def best_pace_s(trials: Iterable[Trial]) -> float | None:
    """The best pace that was seen beside any call of these trials, in seconds."""
    measured = [trial.measurement for trial in trials]
    found = [known for one in measured if one for known in one.conditions]
    return min((known.value for known in found if known.kind == BEST_PACE), default=None)
