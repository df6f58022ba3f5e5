"""The job of a trial's process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search_space.budget import UNLIMITED, Budget
from search_space.config import Config
from search_space.workload import Workload


@dataclass(frozen=True)
class Job:
    """One trial to run.

    ``reference`` is the file of the output to compare with, ``output`` where to save this trial's
    own to be compared with, ``pictures`` where a few of its images are kept to be seen. A first
    steady call whose latency is beyond ``cap_s`` is the last. What inductor has compiled is kept in
    the folder ``compile_cache``; without one the first call is a cold one. The ``budget`` is
    enforced. ``probe_s`` is the best speed of the processor in this run so far. The
    weights for LPIPS lie in the folder ``lpips``. At the socket ``turns`` the trial asks for its
    turn, where its calls are interleaved with those of others.
    """

    workload: Workload
    folder: str
    device: str
    config: Config
    cache_dir: str
    reference: str | None = None
    output: str | None = None
    cap_s: float | None = None
    compile_cache: str | None = None
    budget: Budget = UNLIMITED
    pictures: str | None = None
    probe_s: float | None = None
    lpips: str | None = None
    turns: str | None = None

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Job:
        """The inverse of ``dataclasses.asdict``."""
        records = {
            "workload": Workload.from_json(facts["workload"]),
            "config": Config(facts["config"]),
            "budget": Budget.from_json(facts["budget"]),
        }
        return cls(**{**facts, **records})
