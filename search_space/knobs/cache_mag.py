"""MagCache: steps are skipped as long as the residuals are known to change little."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from search_space.build import Build, Example
from search_space.knob import Choice, Tier, goes_only_with, more_choices
from search_space.knobs.cache import caching
from search_space.pipeline.step_caches import cache_config, count_skips, hooks_of, nothing_skipped
from search_space.runtimes.graph import graph_key, graph_of

CALIBRATION_STEPS = 10**6
"""More than any schedule has: the hooks forget their ratios at the last step."""


def mag_skips(denoiser: Any) -> bool:
    """Whether the blocks were skipped in the call that is ending."""
    hooks = hooks_of(denoiser, "mag")
    return bool(hooks) and not hooks[0].state_manager.get_state().should_compute


def mag_effect(build: Build, choice: str) -> str | None:
    return nothing_skipped(build)


def ratios_file(build: Build) -> Path:
    """Where the ratios of these denoisers, called like this, lie."""
    call = repr(sorted((name, repr(value)) for name, value in build.call.items()))
    schedule = repr(sorted(build.pipe.scheduler.config.items(), key=str))
    keys = [
        graph_key(graph_of(entry, Example((), {}, None)), call, schedule)
        for entry in build.entries("engine")
    ]
    return build.cache_dir / "ratios" / f"{'-'.join(keys)}.json"


def watch_ratios(denoiser: Any) -> tuple[dict[str, list[float]], Callable[[], None]]:
    """The ratios of a denoiser's calls by their names, as they come, and what ends the watch."""
    ratios: dict[str, list[float]] = {}

    def keep(model: Any, args: Any, output: Any) -> None:
        manager = hooks_of(model, "mag")[0].state_manager
        ratios[manager.context.name] = list(manager.get_state().calibration_ratios)

    config = cache_config("mag", calibrate=True, num_inference_steps=CALIBRATION_STEPS)
    denoiser.enable_cache(config)
    handle = denoiser.register_forward_hook(keep)

    def end() -> None:
        handle.remove()
        denoiser.disable_cache()

    return ratios, end


def magnitude_ratios(build: Build) -> dict[str, list[float]]:
    """By how much the residual of each denoiser's blocks grows from step to step, in one call."""
    import torch

    build.enter("calibrate")
    build.place()
    watched = {name: watch_ratios(denoiser) for name, denoiser in build.denoisers().items()}
    build.pipe.set_progress_bar_config(disable=True)
    build.pipe(**build.call, generator=torch.Generator("cpu").manual_seed(0))
    build.pipe.set_progress_bar_config()
    for _, end in watched.values():
        end()
    build.enter("load")
    # The cache takes one list: where guidance is a call of its own, that of the first call.
    return {name: next(iter(ratios.values())) for name, (ratios, _) in watched.items() if ratios}


def kept_ratios(build: Build) -> dict[str, list[float]]:
    """The ratios that were measured before, or are measured now and kept."""
    path = ratios_file(build)
    if not path.exists():
        ratios = magnitude_ratios(build)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps(ratios), encoding="utf-8")
        os.replace(unfinished, path)
    kept: dict[str, list[float]] = json.loads(path.read_text(encoding="utf-8"))
    return kept


@more_choices(
    "cache",
    choices=(
        # The threshold of diffusers, two and four times it: more is skipped, and more is lost.
        Choice("mag-0.06", need=caching("mag"), tier=Tier.LOSSY, steps_differ=True),
        Choice("mag-0.12", need=caching("mag"), tier=Tier.LOSSY, steps_differ=True),
        Choice("mag-0.24", need=caching("mag"), tier=Tier.LOSSY, steps_differ=True),
    ),
    conflicts=(
        goes_only_with("engine", ("eager",), "its hooks keep the blocks out of every graph"),
        goes_only_with(
            "quantization",
            ("none",),
            "its ratios belong to a sample of the weights, which quantized ones do not give",
        ),
        goes_only_with("placement", ("device",), "its ratios are measured with all on the device"),
    ),
    effect=mag_effect,
    run_on=("cpu",),
)
def mag_cache(build: Build, choice: str) -> None:
    """Up to three steps in a row skipped, as the ratios measured in one call before allow it."""
    for name, ratios in kept_ratios(build).items():
        settings = {"mag_ratios": ratios, "num_inference_steps": len(ratios)}
        threshold = float(choice.removeprefix("mag-"))
        build.denoisers()[name].enable_cache(cache_config("mag", threshold=threshold, **settings))
    count_skips(build, mag_skips)
