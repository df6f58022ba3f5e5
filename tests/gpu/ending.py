"""How an item and the whole command end in time, whatever they are at."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import psutil

AGAIN_S = 12.0
"""After so long an item that is still there, though it was told to stop, is told once more."""

OVERDUE = 3
"""The exit code where something did not end in time and the whole command had to."""


class TimeUp(KeyboardInterrupt):
    """The seconds of an item are over; a run ends by it as by the user's interrupt."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise TimeUp once the seconds are over, whatever is waited for."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeUp

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(0.1, seconds), AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def stop_now() -> None:
    """End this process and all that it has started, whatever they are at."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            process.kill()
    os._exit(OVERDUE)
