"""The request of the user, checked: the same for the command line, Python and the service."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict, Unpack

from search_space.budget import UNLIMITED, Budget
from search_space.catalog import check_agreement
from search_space.errors import UsageError
from search_space.foreign import MOST
from search_space.knob import Tier
from search_space.units import parse_duration, parse_size
from search_space.workload import MOST_IMAGES, PROMPT, SEEDS, Workload
from tuner.records.objective import LATENCY, OBJECTIVES, Objective

MINIMUM_ROUNDS = 2
"""Of a race: with fewer nothing is repeated, and there is no interval."""


DEFAULT_SAMPLER = "additive"

SAMPLERS = (DEFAULT_SAMPLER, "tpe", "gp", "random", "exhaustive")
"""Ours, three of Optuna's, and all configs in turn."""


class Options(TypedDict, total=False):
    """Every option of ``tune run`` by keyword; sizes and durations as numbers or as text.

    Sizes are bytes or ``"8GiB"``, durations seconds or ``"1h30m"``; ``fix`` maps knobs to choices.
    """

    height: int | None
    width: int | None
    num_frames: int | None
    steps: int | None
    batch_size: int
    objective: str
    images: int | None
    guidance_scale: float | None
    prompt: str | Sequence[str]
    seed: int
    device: str | None
    cache_dir: str | Path | None
    memory: int | str | None
    host_memory: int | str | None
    trials: int
    time_limit: float | str | None
    trial_timeout: float | str
    target_speedup: float | str | None
    sampler: str
    race_rounds: int
    ablation: bool
    lpips: str | Path | None
    quality: str
    allow_lossy: bool
    allow_remote_code: bool
    allow_pickle: bool
    fix: Mapping[str, str] | Iterable[tuple[str, str]]
    include: Sequence[str]
    exclude: Sequence[str]


@dataclass(frozen=True)
class Request:
    """The request of the user: the workload, the limits and the pins."""

    workload: Workload
    cache_dir: Path
    device: str | None = None
    budget: Budget = UNLIMITED
    trials: int = 20
    time_limit_s: float | None = None
    trial_timeout_s: float = 600.0
    objective: Objective = LATENCY
    race_rounds: int = 3
    ablation: bool = True
    quality: Tier = Tier.NEAR
    allow_lossy: bool = False
    allow_remote_code: bool = False
    allow_pickle: bool = False
    fix: Mapping[str, str] = field(default_factory=dict)
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    lpips: Path | None = None
    sampler: str = DEFAULT_SAMPLER
    target_speedup: float | None = None


def request_of(model: str, **options: Unpack[Options]) -> Request:
    """The request that options spell out; raises UsageError where one is out of range.

    Whether the model and the pipeline can do it is checked once they are known.
    """
    unknown = options.keys() - Options.__annotations__.keys()
    if unknown:
        raise UsageError(f"there is no option {sorted(unknown)[0]!r}: see 'tune run --help'")
    for name in COUNTS & options.keys():
        _check_count(name, options.get(name))
    batch_size = options.get("batch_size", 1)
    objective = _objective(options.get("objective", "latency"), options.get("images"), batch_size)
    rounds = options.get("race_rounds", 3)
    if rounds != 0 and rounds < MINIMUM_ROUNDS:
        raise UsageError(f"one round has no spread: give --race-rounds 0 or {MINIMUM_ROUNDS}")
    fix = options.get("fix", ())
    pairs = list(fix.items() if isinstance(fix, Mapping) else fix)
    include, exclude = tuple(options.get("include", ())), tuple(options.get("exclude", ()))
    check_agreement(pairs, include, exclude)
    cache_dir, lpips = options.get("cache_dir"), options.get("lpips")
    return Request(
        Workload(
            model=model,
            height_px=options.get("height"),
            width_px=options.get("width"),
            num_frames=options.get("num_frames"),
            steps=options.get("steps"),
            batch_size=batch_size,
            throughput=objective.name == "throughput",
            guidance_scale=_finite(options.get("guidance_scale")),
            prompts=_prompts(options.get("prompt", ())),
            seed=_seed(options.get("seed", 0)),
        ),
        Path(cache_dir).expanduser() if cache_dir else default_cache_dir(),
        options.get("device"),
        Budget(_size(options.get("memory")), _size(options.get("host_memory"))),
        options.get("trials", 20),
        _duration(options.get("time_limit")),
        _duration(options.get("trial_timeout")) or 600.0,
        objective,
        rounds,
        options.get("ablation", True),
        _tier(options.get("quality", Tier.NEAR.value)),
        options.get("allow_lossy", False),
        options.get("allow_remote_code", False),
        options.get("allow_pickle", False),
        dict(pairs),
        include,
        exclude,
        Path(lpips).expanduser() if lpips else None,
        _sampler(options.get("sampler", DEFAULT_SAMPLER)),
        _speedup(options.get("target_speedup")),
    )


def default_cache_dir() -> Path:
    """The user's cache folder of this project."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("diffusers-autotune"))


def weights_folder(request: Request) -> str | None:
    """The folder of the weights for LPIPS, whatever the working folder, or None."""
    return None if request.lpips is None else str(request.lpips.absolute())


COUNTS = frozenset({"height", "width", "num_frames", "steps", "batch_size", "images", "trials"})


def _check_count(name: str, value: object) -> None:
    if value is not None and (not isinstance(value, int) or value < 1):
        raise UsageError(f"{_option(name)} {value} is no count: give 1 or more")
    most = MOST_IMAGES if name == "batch_size" else MOST
    if isinstance(value, int) and value > most:
        raise UsageError(f"{_option(name)} {value} is too large: give {most} at most")


def _objective(name: str, images: int | None, batch_size: int) -> Objective:
    if name not in OBJECTIVES:
        raise UsageError(f"there is no objective {name!r}: give {', '.join(OBJECTIVES)}")
    if (name == "session") != (images is not None):
        raise UsageError("a session has a number of images: give --objective session --images 20")
    return Objective(name, images, batch_size if images else 1)


def _tier(name: str) -> Tier:
    if name not in [tier.value for tier in Tier]:
        names = ", ".join(tier.value for tier in Tier)
        raise UsageError(f"there is no quality {name!r}: give {names}")
    return Tier(name)


def _sampler(name: str) -> str:
    if name not in SAMPLERS:
        raise UsageError(f"there is no sampler {name!r}: give {', '.join(SAMPLERS)}")
    return name


def _speedup(target: float | str | None) -> float | None:
    """The factor of ``2``, ``"2"`` or ``"2x"``; raises UsageError where it is none above 1."""
    if target is None:
        return None
    try:
        factor = float(str(target).removesuffix("x"))
    except ValueError:
        factor = math.nan
    if not (math.isfinite(factor) and factor > 1):
        raise UsageError(f"--target-speedup {target} is no factor above 1: give one such as 2x")
    return factor


def _seed(seed: int) -> int:
    if seed not in SEEDS:
        raise UsageError(f"--seed {seed} is out of range: give 0 to {SEEDS[-1]}")
    return seed


def _finite(scale: float | None) -> float | None:
    if scale is not None and not math.isfinite(scale):
        raise UsageError(f"--guidance-scale {scale} is no number: give one such as 7.5")
    return scale


def _prompts(prompt: str | Sequence[str]) -> tuple[str, ...]:
    prompts = (prompt,) if isinstance(prompt, str) else tuple(prompt)
    for prompt in prompts:
        try:
            prompt.encode()
        except UnicodeEncodeError:
            raise UsageError("--prompt holds bytes that are not UTF-8: write it in UTF-8") from None
    return prompts or (PROMPT,)


def _size(size: int | str | None) -> int | None:
    if isinstance(size, int) and size < 1:
        raise UsageError(f"a size of {size} bytes leaves no memory at all: give at least 1MiB")
    return parse_size(size) if isinstance(size, str) else size


def _duration(duration: float | str | None) -> float | None:
    if isinstance(duration, (int, float)) and not (math.isfinite(duration) and duration > 0):
        raise UsageError(f"{duration} is no duration: write it in seconds or as 90s, 30m or 1h30m")
    return parse_duration(duration) if isinstance(duration, str) else duration


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
