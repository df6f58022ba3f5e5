"""When a search ends."""

from __future__ import annotations

import time


class Clock:
    """The time limit of a search, which starts once the baseline is known."""

    def __init__(self, limit_s: float | None) -> None:
        self._ends_s = None if limit_s is None else time.monotonic() + limit_s

    @property
    def is_over(self) -> bool:
        return self._ends_s is not None and time.monotonic() > self._ends_s
