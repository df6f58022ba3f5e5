"""The phase and the memory of a trial's process, read from outside."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from search_space.trial import OTHERS_CORES, Condition
from tuner.measuring.interleaving import WAITING
from tuner.measuring.memory.gauge import counted_bytes
from tuner.measuring.memory.host import kept_bytes, of_descendants
from tuner.measuring.noise.guard import Counters, conditions_between

TREE_POLL_S = 0.25
"""How often the tree is sampled; once a phase has shown a child process, at every look."""
STARTING = "start"
TIMED = "steady"


class Watch:
    """Reads the phase of a trial's process and the memory of its tree."""

    def __init__(self, folder: Path, pid: int, on_phase: Callable[[str], None]) -> None:
        self.phase = STARTING
        self.phase_began_s = time.monotonic()
        self.tree_bytes: dict[str, int] = {}
        self.highest_bytes = 0
        self._waited_s = 0.0
        self._descendants_bytes = 0
        self._counters = Counters(os.getpid())
        self._first_reading = self._counters.read()
        self._events = folder / "events.jsonl"
        self._offset = 0
        self._pid = pid
        self._on_phase = on_phase
        self._sampled_s = 0.0

    def update(self) -> None:
        """Read new events; sample the tree, except while any trial times calls."""
        for event in self._new_events():
            self._enter(event["phase"], event.get("at_s", time.monotonic()))
        # A compiler grows and is gone within half a second.
        every_s = 0.0 if self.phase in self.tree_bytes else TREE_POLL_S
        is_timed = self.phase in (TIMED, WAITING)
        if not is_timed and time.monotonic() - self._sampled_s > every_s:
            self._sampled_s = time.monotonic()
            self._sample_tree()

    @property
    def waited_s(self) -> float:
        """How long the trial has waited for its turns."""
        is_waiting = self.phase == WAITING
        return self._waited_s + (time.monotonic() - self.phase_began_s if is_waiting else 0.0)

    def conditions(self) -> tuple[Condition, ...]:
        """What else the machine has done since the trial began."""
        return conditions_between(self._first_reading, self._counters.read(), self._counters.cores)

    def others_cores(self) -> float:
        """How many cores other processes have taken on average since it began."""
        for condition in self.conditions():
            if condition.kind == OTHERS_CORES:
                return condition.value
        return 0.0

    @property
    def cores(self) -> int:
        """How many cores the run may use."""
        return self._counters.cores

    def _enter(self, phase: str, at_s: float) -> None:
        if self.phase == WAITING:
            self._waited_s += at_s - self.phase_began_s
        self.phase, self.phase_began_s = phase, at_s
        self._on_phase(phase)

    def _new_events(self) -> list[dict[str, Any]]:
        if not self._events.exists():
            return []
        with self._events.open("rb") as file:
            file.seek(self._offset)
            complete, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(complete + newline)
        return [json.loads(line) for line in complete.splitlines()]

    def _sample_tree(self) -> None:
        self._descendants_bytes = of_descendants(self._pid)
        if self._descendants_bytes:
            now_bytes = counted_bytes(self._pid, self.phase) + self._descendants_bytes
            self.tree_bytes[self.phase] = max(now_bytes, self.tree_bytes.get(self.phase, 0))

    def held_bytes(self) -> int:
        """What the trial's tree holds of the host now."""
        now_bytes = kept_bytes(self._pid) + self._descendants_bytes
        self.highest_bytes = max(self.highest_bytes, now_bytes)
        return now_bytes
