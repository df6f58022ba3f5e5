"""A trial as one row: the fields of the store's view ``trial_summary``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_type_hints

from search_space.config import Config
from search_space.errors import StoreError
from search_space.foreign import typed

LONGEST = 160
"""Letters of what a value is said to be: some errors repeat the whole of it."""


@dataclass(frozen=True)
class TrialRecord:
    """A trial of the store in one row; what is not known is None.

    ``latency_s`` is seconds a call, an image with the objective throughput. ``speedup`` is the
    latency of trial ``baseline`` over it, a ratio of two trials without an interval. ``state`` is
    measured, infeasible (ran, beyond the limits of its study) or failed.
    """

    number: int
    study: int
    model: str
    height: int | None
    width: int | None
    steps: int | None
    device: str
    config: Config
    state: str
    latency_s: float | None
    speedup: float | None
    peak_bytes: int | None
    psnr_db: float | None
    tier: str | None
    purpose: str
    failure: str | None
    cost_s: float
    started_at: str
    phase: str | None
    message: str | None
    disturbed: str | None
    unstable: str | None
    host_peak_bytes: int | None
    ssim: float | None
    lpips: float | None
    start_up_s: float | None
    frames: int | None
    batch_size: int
    race: str | None
    round: int | None
    baseline: int | None
    memory_bytes: int | None
    host_memory_bytes: int | None
    quality: str | None
    objective: str
    device_kind: str
    machine: int
    software: int
    workload: int

    @property
    def is_measured(self) -> bool:
        """Whether it ran within its limits and has latency and peak."""
        return self.state == "measured" and None not in (self.latency_s, self.peak_bytes)

    @property
    def group(self) -> tuple[int, int, int]:
        """What trials must have in common to be compared: machine, versions, workload."""
        return self.machine, self.software, self.workload

    @property
    def size(self) -> str | None:
        """``512x512``, with frames and images a call; None for the pipeline's own."""
        return frame_size(self.width, self.height, self.frames, self.batch_size)

    def values(self) -> dict[str, Any]:
        """Its fields as plain values, the config as its changes."""
        return asdict(self) | {"config": self.config.changes}


KINDS = get_type_hints(TrialRecord)
OWN = ("config", "psnr_db")
"""Fields that are read in a way of their own."""


def record_of(row: Mapping[str, Any]) -> TrialRecord:
    """The record of a row of the view; raises StoreError where it is damaged."""
    try:
        choices = typed(Config, json.loads(row["config"]), "config.choices")
        values = {
            name: typed(kind, row[name], name) for name, kind in KINDS.items() if name not in OWN
        }
        psnr_db = row["psnr_db"]
        # Of identical images it is endless where an earlier version has stored it.
        if not (isinstance(psnr_db, float) and math.isinf(psnr_db)):
            psnr_db = typed(KINDS["psnr_db"], psnr_db, "psnr_db")
        return TrialRecord(**values, config=choices, psnr_db=psnr_db)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:LONGEST]
        raise StoreError(
            f"trial {row['number']!r} cannot be read ({reason}): if the store is damaged, put back "
            "a copy"
        ) from error


def frame_size(
    width: int | None, height: int | None, frames: int | None, batch_size: int
) -> str | None:
    """``832x480-81f-b2`` for 81 frames and 2 videos a call; None where the size is not known."""
    if width is None or height is None:
        return None
    of_video = f"-{frames}f" if frames else ""
    batch = f"-b{batch_size}" if batch_size > 1 else ""
    return f"{width}x{height}{of_video}{batch}"
