"""What was measured on GPUs, as it is kept: files of JSON lines, a session's head and its rows.

A head names the machine and its versions. An item of a session ends in one row that has its name
as ``item``; what it measured on the way names it as ``within``. In the oldest files a row has no
item, and the head has what is the same for all of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from search_space.catalog import all_knobs
from search_space.config import makes_another_image, steps
from search_space.errors import UsageError
from search_space.fidelity import excess
from search_space.knob import Tier

Row = dict[str, Any]

KEPT = Path(__file__).with_name("kept")
NOT_DONE = ("stopped", "skipped", "unavailable")
"""A row with one of these says why its item is still to be measured."""


@dataclass(frozen=True)
class Session:
    """One run on one machine: its head and its rows, each with its ``model``."""

    head: Row
    rows: tuple[Row, ...]

    @property
    def kind(self) -> str:
        """``cuda``, ``rocm``, ``mps``, ``xpu`` or ``hpu``; the oldest heads do not say cuda."""
        return "rocm" if "rocm" in self.head["packages"] else str(self.head.get("kind", "cuda"))

    @property
    def dry(self) -> bool:
        """Whether it rehearsed on a CPU: it shows nothing of a device."""
        return bool(self.head.get("dry"))

    def like(self, head: Row) -> bool:
        """Whether its rows hold for a session with this head as well."""
        facts = ("kind", "device", "packages", "dry")
        return all(self.head.get(fact) == head[fact] for fact in facts)

    def defaults_s(self, model: str) -> list[float]:
        """The median of each trial of the model's default, in seconds a call."""
        rows = [row for row in self.rows if row["model"] == model and row.get("config") == {}]
        return [median(row["steady_s"]) for row in rows if "steady_s" in row]


def read(folder: Path) -> list[Session]:
    """The sessions of a folder, the oldest files first."""
    sessions: list[Session] = []
    for path in sorted(folder.glob("*.jsonl")):
        lines = list(_lines(path))
        starts = [place for place, line in enumerate(lines) if "packages" in line]
        for start, end in pairwise([*starts, len(lines)]):
            sessions.append(_session(lines[start], lines[start + 1 : end]))
    return sessions


def _lines(path: Path) -> Iterator[Row]:
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            # What was being written when the machine went.
            return


def _session(head: Row, rows: Iterable[Row]) -> Session:
    shared = {name: head[name] for name in ("side_px", "steps") if name in head}
    if "pipeline" in head:
        shared["model"] = head["pipeline"]
    return Session(head, tuple({**shared, **row} for row in rows))


def is_done(row: Row) -> bool:
    """Whether a row ends its item for good; what failed is done and is tried once more, last."""
    return "item" in row and not any(mark in row for mark in NOT_DONE)


def choices_of(row: Row) -> list[str]:
    """The choices that the row shows to have acted and to have kept the image as promised."""
    if row.get("acted"):
        return [row["choice"]]
    config = row.get("config", {})
    if "steady_s" not in row or not keeps_the_image(config, row.get("psnr_db")):
        return []
    return [f"{name}={value}" for name, value in config.items()]


def keeps_the_image(config: Mapping[str, str], psnr_db: float | None) -> bool:
    """Whether the image is no further off than the choices of the config promise."""
    try:
        tiers = [step.choice.tier for step in steps(config)]
    except UsageError:
        # A choice of then that there is no more.
        return False
    if psnr_db is None:
        return bool(tiers) and makes_another_image(config)
    return excess({"psnr_db": psnr_db}, max(tiers, key=list(Tier).index, default=Tier.EXACT)) <= 0


def verified(sessions: Iterable[Session]) -> dict[str, tuple[str, ...]]:
    """The choices that were seen to work, by kind of device, in the order of the knobs."""
    known = [f"{knob.name}={value}" for knob in all_knobs() for value in knob.values[1:]]
    seen: dict[str, set[str]] = {}
    for session in sessions:
        if not session.dry:
            for row in session.rows:
                seen.setdefault(session.kind, set()).update(choices_of(row))
    return {kind: tuple(one for one in known if one in seen[kind]) for kind in sorted(seen)}
