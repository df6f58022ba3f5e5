"""How fast the processor computes: a fixed piece of work, timed between the calls and in them.

A virtual machine is slowed down from outside, by a third or a half where another tenant computes on
the second thread of its cores. The kernel counts that as time of our own, and no counter shows it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from search_space.trial import Condition, Trial
from tuner.hashing import few, slowest_s
from tuner.pace_within import Within

PACE = "pace_s"
"""The kind of the condition of a call: how long the work took beside it."""

BEST_PACE = "best_pace_s"
"""The kind of the condition of a trial: the shortest time of the work beside its calls."""

WITHIN = "pace_within_s"
"""The kind of the condition of a call: the mean of smaller pieces of work during it."""

SLOW = 1.15
"""Beyond so many times the best pace a call is disturbed."""

SLOW_WITHIN = 1.1
"""Beyond so many times the pace within the best calls of the trial a call is disturbed, too."""

WORK = bytes(2**20)
ROUNDS = 4
RECENT_S = 0.05
"""As long as a pace stands for now: from the end of a call to the begin of the next."""


class Pace:
    """The pace of these cores or, without any, of the one that the thread is on.

    ``best_s`` is the best pace that was seen beside a call of this run.
    """

    def __init__(self, cores: Sequence[int], best_s: float | None = None) -> None:
        self._cores = few(cores)
        self._within = Within(self._cores)
        self._known_s = best_s
        self._own_s: float | None = None
        self._before_s: float | None = None
        self._taken: tuple[float, float | None] = (float("-inf"), None)
        self._best_within_s: list[float] = []

    @property
    def best_s(self) -> float | None:
        """The best pace so far, in seconds."""
        return shorter_s(self._known_s, self._own_s)

    def begin(self) -> None:
        """A call begins."""
        taken_s, found_s = self._taken
        self._before_s = found_s if time.monotonic() - taken_s < RECENT_S else self._take()
        self._within.start()

    def end(self) -> tuple[Condition, ...]:
        """The pace within the call, and the slower one of those before and after it."""
        within_s = self._within.stop()
        return self.called(max(known_s(self._before_s, self._take()), default=None), within_s)

    def called(self, pace_s: float | None, within_s: float | None) -> tuple[Condition, ...]:
        """What is known of a call, as conditions; others are held to the best of them."""
        self._best_within_s = sorted(known_s(*self._best_within_s, within_s))[:2]
        return self.seen(pace_s, within_s)

    def resting(self, rest_s: float) -> tuple[Condition, ...]:
        """The pace while no call runs, for so many seconds."""
        self._within.start()
        time.sleep(rest_s)
        within_s = self._within.stop()
        return self.seen(self._now(), within_s)

    def seen(self, pace_s: float | None, within_s: float | None) -> tuple[Condition, ...]:
        """The two as conditions, as far as they are known."""
        told = ((PACE, pace_s), (WITHIN, within_s))
        return self.judged(tuple(Condition(kind, s) for kind, s in told if s is not None))

    def judged(self, conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
        """The conditions, those of the pace judged by the best ones that are known by now."""
        # One call may be an odd one, as the first is; what two have reached can be had.
        within_s = self._best_within_s[1] if len(self._best_within_s) == 2 else None
        limits = {PACE: (self.best_s, SLOW), WITHIN: (within_s, SLOW_WITHIN)}
        return tuple(
            replace(seen, complaint=complaint(seen.value, *limits[seen.kind]))
            if seen.kind in limits
            else seen
            for seen in conditions
        )

    def own(self) -> tuple[Condition, ...]:
        """The best pace of this trial, as a condition of the trial."""
        return () if self._own_s is None else (Condition(BEST_PACE, self._own_s),)

    def _take(self) -> float | None:
        found_s = self._now()
        self._own_s = shorter_s(found_s, self._own_s)
        self._taken = (time.monotonic(), found_s)
        return found_s

    def _now(self) -> float | None:
        """What looks slow is looked at twice, for a core may have slept."""
        found_s = slowest_s(self._cores, WORK, ROUNDS)
        if found_s is not None and complaint(found_s, self.best_s, SLOW):
            found_s = shorter_s(found_s, slowest_s(self._cores, WORK, ROUNDS))
        return found_s


def complaint(pace_s: float, best_s: float | None, slow: float) -> str:
    """What is wrong with this pace, or nothing."""
    if best_s is None or pace_s <= slow * best_s:
        return ""
    return f"the processor computed at {best_s / pace_s:.0%} of its best pace"


def known_s(*paces_s: float | None) -> list[float]:
    """Those of these paces that are known."""
    return [pace_s for pace_s in paces_s if pace_s is not None]


def shorter_s(*paces_s: float | None) -> float | None:
    """The best of these paces, as far as they are known."""
    return min(known_s(*paces_s), default=None)


def best_pace_s(trials: Iterable[Trial]) -> float | None:
    """The best pace that was seen beside any call of these trials, in seconds."""
    measured = [trial.measurement for trial in trials]
    found = [known for one in measured if one for known in one.conditions]
    return min((known.value for known in found if known.kind == BEST_PACE), default=None)
