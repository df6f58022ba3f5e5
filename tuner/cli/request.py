"""The request that options spell out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_space.budget import Budget
from search_space.errors import UsageError
from search_space.knob import Tier
from search_space.workload import PROMPT, Workload

if TYPE_CHECKING:
    from tuner.records.plan import Request


def request_of(model: str, **asked: Any) -> Request:
    """The request that the options of ``run`` and ``knobs`` spell out."""
    from search_space.catalog import check_agreement
    from tuner.discovery.models import check_name
    from tuner.race.race import MINIMUM_ROUNDS
    from tuner.records.plan import Request, objective_of

    # Before anything is started: a slip of the pen shall not cost the seconds of an import.
    check_name(model)
    check_agreement(asked["fix"], asked.get("include", ()), asked.get("exclude", ()))
    rounds = asked.get("race_rounds", MINIMUM_ROUNDS)
    if 0 < rounds < MINIMUM_ROUNDS:
        raise UsageError(f"one round has no spread: give --race-rounds 0 or {MINIMUM_ROUNDS}")
    asked["objective"] = objective_of(asked["objective"], asked.pop("images"), asked["batch_size"])
    asked["ablation"] = not asked.pop("no_ablation", False)
    workload = Workload(
        model=model,
        height_px=asked.pop("height"),
        width_px=asked.pop("width"),
        num_frames=asked.pop("num_frames"),
        steps=asked.pop("steps"),
        batch_size=asked.pop("batch_size"),
        throughput=asked["objective"].name == "throughput",
        guidance_scale=asked.pop("guidance_scale"),
        prompts=asked.pop("prompts") or (PROMPT,),
        seed=asked.pop("seed"),
    )
    cache_dir = asked.pop("cache_dir") or default_cache_dir()
    asked["quality"] = Tier(asked["quality"])
    asked["budget"] = Budget(asked.pop("memory_bytes", None), asked.pop("host_bytes", None))
    return Request(workload, cache_dir, **{**asked, "fix": dict(asked["fix"])})


def default_cache_dir() -> Path:
    """The user's cache folder of this project."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("diffusers-autotune"))
