"""Interleaved calls: trials whose processes live side by side and compute one at a time.

What slows the machine for longer than a call then slows them all, and their ratios do not feel it.
The controller hands the turn on. A trial's first turn lasts until it is warm, each later one a
call, and its last until its process has ended.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from search_space.trial import Trial

WAITING = "turn"
"""The phase of a trial that waits for its turn."""

SOCKET = "turns"
"""The socket of a trial in its folder."""

_HELD: list[socket.socket] = []
"""Open until the process ends: that is what ends its last turn."""


def possible() -> bool:
    """Whether calls can be interleaved here: trials ask for turns at sockets in folders."""
    with suppress(AttributeError, OSError), TemporaryDirectory(prefix="tune-") as folder:
        with socket.socket(socket.AF_UNIX) as tried:
            tried.bind(os.path.join(folder, SOCKET))
        return True
    return False


class Turns(Protocol):
    """How a trial's calls go with those of others."""

    def another(self, settled: bool) -> bool:
        """Whether to make another call; ``settled`` says whether the trial itself needs none."""

    @property
    def turn(self) -> int | None:
        """The turn of this call; None where it is made alone."""


class Alone:
    """A trial that has the machine for itself."""

    turn = None

    def another(self, settled: bool) -> bool:
        """Until it needs no more."""
        return not settled


class Interleaved:
    """A trial that asks for its turn at a socket."""

    def __init__(self, place: str, enter: Callable[[str], None]) -> None:
        self._enter = enter
        self.turn = 0
        enter(WAITING)
        self._socket = socket.socket(socket.AF_UNIX)
        _HELD.append(self._socket)
        self._socket.connect(place)
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self._told()

    def another(self, settled: bool) -> bool:
        """Until no trial needs more: their calls are compared turn by turn."""
        self._enter(WAITING)
        self._socket.sendall(json.dumps({"settled": settled}).encode() + b"\n")
        return self._told()

    def _told(self) -> bool:
        answer: dict[str, Any] = json.loads(self._lines.readline())
        self.turn = answer["turn"]
        return bool(answer["go"])


def turns_made(trials: Iterable[Trial], race: str, round: int) -> int:
    """How many turns of a round are kept: what goes on with it numbers its own from there."""
    beside = [trial.measurement for trial in trials if (trial.race, trial.round) == (race, round)]
    return max((turn + 1 for one in beside if one for turn in one.turns_s()), default=0)


def turns_of(place: str | None, enter: Callable[[str], None]) -> Turns:
    """The turns of a trial, once its first one has come; without a socket it is alone."""
    return Alone() if place is None else Interleaved(place, enter)
