"""A fixed piece of work, timed on chosen cores: a hash."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from contextlib import suppress

MOST_CORES = 4


def few(cores: Sequence[int]) -> Sequence[int]:
    """Some of the cores, evenly spread; none where a thread cannot choose its core."""
    if not hasattr(os, "sched_setaffinity"):
        return ()
    return cores[:: -(-len(cores) // MOST_CORES) or 1]


def slowest_s(
    cores: Sequence[int], work: bytes, rounds: int, enough_s: float = 0.0
) -> float | None:
    """The seconds of the work on the slowest of these cores, or where the thread is.

    On each the best of so many rounds counts, or the first within ``enough_s``, less what others
    have of the core, which is counted elsewhere. None where the thread's clock is too coarse.
    """
    if not cores:
        return best_s(work, rounds, enough_s)
    allowed = os.sched_getaffinity(0)
    try:
        return max(_on(core, work, rounds, enough_s) for core in cores) or None
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, allowed)


def _on(core: int, work: bytes, rounds: int, enough_s: float) -> float:
    choose(core)
    return best_s(work, rounds, enough_s) or 0.0


def choose(core: int) -> None:
    """Put this thread on a core; where that is gone, or may not be chosen, any is as good."""
    with suppress(OSError):
        os.sched_setaffinity(0, {core})


def best_s(work: bytes, rounds: int, enough_s: float = 0.0) -> float | None:
    """The seconds of the work where the thread is, the best of at most so many rounds."""
    shortest_s = _hash_s(work)
    for _ in range(rounds - 1):
        if shortest_s <= enough_s:
            break
        shortest_s = min(shortest_s, _hash_s(work))
    return shortest_s or None


def _hash_s(work: bytes) -> float:
    # BLAKE2b keeps all of a core's arithmetic busy: what waits for its own results, as SHA-256
    # does, hardly feels who is on the core's other thread.
    began_s = time.thread_time()
    hashlib.blake2b(work)
    return time.thread_time() - began_s
