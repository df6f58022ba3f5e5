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

    - ``reference`` is the file with the output to compare with.
    - ``output`` is the file for this trial's output, where it becomes the reference.
    - ``pictures`` is the file for a few images, for the contact sheet.
    - ``cap_s``: a first steady call slower than this is the last.
    - ``compile_cache`` is inductor's folder; without one the first call is a cold one.
    - ``budget`` is enforced.
    - ``probe_s`` is the shortest CPU speed probe of this run so far.
    - ``lpips`` is the folder with the weights for LPIPS.
    - ``turns`` is the socket at which the trial asks for its turns, where calls are interleaved.
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
