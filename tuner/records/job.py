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
    - ``precise`` is whether calls go on until their median is well known, as in a race; a search
      needs three.
    - ``cap_s``: where calls are slower than this, the first of them is the last.
    - ``reach_s``: more than three calls are made only where it is open whether a call takes less.
    - ``beside`` is the config whose process is still alive, for calls to be interleaved with its
      own, and ``beside_s`` the seconds a call by which it is known.
    - ``stays`` is whether the process stays alive for that after its trial.
    - ``compile_cache`` is inductor's folder; without one the first call is a cold one.
    - ``budget`` is enforced.
    - ``lpips`` is the folder with the weights for LPIPS.
    - ``pickled`` lets weights be read that are pickles.
    - ``turns`` is the socket at which the trial asks for its turns, where calls are interleaved.
    """

    workload: Workload
    folder: str
    device: str
    config: Config
    cache_dir: str
    reference: str | None = None
    output: str | None = None
    precise: bool = False
    cap_s: float | None = None
    reach_s: float | None = None
    beside: Config | None = None
    beside_s: float | None = None
    stays: bool = False
    compile_cache: str | None = None
    budget: Budget = UNLIMITED
    pictures: str | None = None
    lpips: str | None = None
    pickled: bool = False
    turns: str | None = None

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Job:
        """The inverse of ``dataclasses.asdict``."""
        records = {
            "workload": Workload.from_json(facts["workload"]),
            "config": Config(facts["config"]),
            "budget": Budget.from_json(facts["budget"]),
            "beside": None if facts["beside"] is None else Config(facts["beside"]),
        }
        return cls(**{**facts, **records})
