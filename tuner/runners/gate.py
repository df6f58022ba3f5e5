"""Where one trial waits for its turns: the controller's end of its socket."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from pathlib import Path


class Gate:
    """Where one trial waits: it comes, asks for one turn after the other, and goes."""

    def __init__(self, place: Path) -> None:
        self.turns = 0
        self.settled = False
        self.is_waiting = False
        self.has_gone = False
        self.call_s: float | None = None
        self._received = b""
        self._connection: socket.socket | None = None
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(place))
        self._listener.listen(1)

    @property
    def has_come(self) -> bool:
        return self._connection is not None

    def fileno(self) -> int:
        """The file that ``select`` waits for."""
        return (self._connection or self._listener).fileno()

    def read(self) -> None:
        """Accept the trial's connection, or read its message."""
        if self._connection is None:
            self._connection, _ = self._listener.accept()
            self.is_waiting = True
            return
        received = b""
        with suppress(OSError):
            received = self._connection.recv(4096)
        self.has_gone = not received
        self._received += received
        if self._received.endswith(b"\n"):
            message = json.loads(self._received)
            self.is_waiting, self.settled = True, message["settled"]
            self.call_s = message.get("call_s")
            self._received = b""

    def answer(self, go: bool, turn: int, incumbent_s: float | None = None) -> None:
        """Tell the trial whether to go on; one that has gone is noticed by the next read."""
        assert self._connection is not None
        self.is_waiting = False
        self.turns += 1
        answer = {"go": go, "turn": turn, "incumbent_s": incumbent_s}
        with suppress(OSError):
            self._connection.sendall(json.dumps(answer).encode() + b"\n")

    def close(self) -> None:
        self._listener.close()
        if self._connection is not None:
            self._connection.close()
