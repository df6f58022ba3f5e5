"""Interleaved calls: trials whose processes live side by side and compute one at a time.

What slows the machine for longer than a call slows all trials, and their ratios stay. The
controller hands the turn on. A trial's first turn lasts until it is warm, each later one a call,
and its last until its process has ended. In a search each of a trial's calls follows one of the
incumbent, whose process has stayed alive.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, Protocol

from search_space.trial import Trial

STAYING = "stay"
"""The phase of a trial that is over and whose process stays alive, to make calls beside others."""

WAITING = "turn"
"""The phase of a trial that waits for its turn."""

SOCKET = "turns"
"""The socket of a trial in its folder."""

_HELD: list[socket.socket] = []
"""Open until the process ends: that is what ends its last turn."""


def possible() -> bool:
    """Whether calls can be interleaved here: trials ask for turns at sockets in folders."""
    with suppress(AttributeError, OSError), TemporaryDirectory(prefix="tune-") as folder:
        # As deep as the folder of a trial.
        place = os.path.join(folder, os.path.basename(folder))
        os.mkdir(place)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.bind(os.path.join(place, SOCKET))
        return True
    return False


class Turns(Protocol):
    """When a trial may make its next call."""

    def another(self, settled: bool) -> bool:
        """Wait for the turn; whether to make another call. A ``settled`` trial needs none."""

    @property
    def turn(self) -> int | None:
        """The number of the turn; None where calls are not interleaved."""

    @property
    def incumbent_s(self) -> Mapping[int, float]:
        """By turn, the seconds of the incumbent's calls."""


class Alone:
    """The turns of a trial that has the machine to itself."""

    turn = None
    incumbent_s: Mapping[int, float] = MappingProxyType({})

    def another(self, settled: bool) -> bool:
        """Whether the trial needs another call."""
        return not settled


class Interleaved:
    """The turns that a trial asks for at a socket."""

    def __init__(self, place: str, enter: Callable[[str], None]) -> None:
        self._enter = enter
        self.turn = 0
        self.incumbent_s: dict[int, float] = {}
        enter(WAITING)
        self._socket = socket.socket(socket.AF_UNIX)
        _HELD.append(self._socket)
        self._socket.connect(place)
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self._receive()

    def another(self, settled: bool) -> bool:
        """Whether any trial needs another call: all make one in each turn."""
        self._enter(WAITING)
        self._socket.sendall(json.dumps({"settled": settled}).encode() + b"\n")
        return self._receive()

    def stay(self, call: Callable[[], float]) -> None:
        """Make a call whenever the controller asks for one, until it asks no more."""
        self._enter(STAYING)
        call_s = None
        with suppress(OSError):
            while True:
                message = {"settled": True, "call_s": call_s}
                self._socket.sendall(json.dumps(message).encode() + b"\n")
                if not self._receive():
                    return
                call_s = call()

    def _receive(self) -> bool:
        line = self._lines.readline()
        if not line:
            return False
        answer: dict[str, Any] = json.loads(line)
        self.turn = answer["turn"]
        if answer.get("incumbent_s") is not None:
            self.incumbent_s[self.turn] = answer["incumbent_s"]
        return bool(answer["go"])


def next_turn(trials: Iterable[Trial], race: str, round: int) -> int:
    """The number of the first turn after those of a round's trials so far."""
    in_round = [trial for trial in trials if (trial.race, trial.round) == (race, round)]
    measurements = [trial.measurement for trial in in_round if trial.measurement is not None]
    turns = [turn for measurement in measurements for turn in measurement.turns_s()]
    return max(turns, default=-1) + 1


def turns_at(place: str | None, enter: Callable[[str], None]) -> Turns:
    """The turns at a socket, once the first has come; without a socket the trial is alone."""
    return Alone() if place is None else Interleaved(place, enter)
