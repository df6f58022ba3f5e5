"""Pyramid Attention Broadcast: the attention of one step serves the next as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from search_space.build import Build
from search_space.knob import Choice, Context, Tier, more_choices
from search_space.knobs.cache import BREAKS_THE_GRAPH, caching
from search_space.needs import every, need
from search_space.pipeline.step_caches import cache_config, count_skips, hooks_of, nothing_skipped


@need("one call of the denoiser a step")
def one_call_a_step(context: Context) -> str | None:
    if not context.spec.guides_apart:
        return None
    name = context.spec.class_name
    return f"{name} guides by a second call, which would get the attention of the first"


def broadcasts() -> Callable[[Any], bool]:
    """Tells whether the attention of a denoiser gave the tensor of the call before once more."""
    before: dict[int, tuple[int, Any]] = {}

    def broadcast(denoiser: Any) -> bool:
        state = hooks_of(denoiser, "pyramid")[0].state
        tensor = state.cache[0] if isinstance(state.cache, tuple) else state.cache
        calls, last = before.get(id(denoiser), (0, None))
        before[id(denoiser)] = state.iteration, tensor
        return bool(state.iteration > calls and tensor is last)

    return broadcast


def pyramid_effect(build: Build, choice: str) -> str | None:
    return nothing_skipped(build)


KINDS_OF_ATTENTION = ("spatial", "temporal", "cross")
"""By these names the configuration of diffusers has a range for each."""

PYRAMID = every(caching("pyramid"), one_call_a_step)


@more_choices(
    "cache",
    choices=(
        Choice("pyramid-2", need=PYRAMID, tier=Tier.LOSSY, steps_differ=True),
        Choice("pyramid-3", need=PYRAMID, tier=Tier.LOSSY, steps_differ=True),
    ),
    conflicts=(BREAKS_THE_GRAPH,),
    effect=pyramid_effect,
    run_on=("cpu",),
)
def pyramid_attention_broadcast(build: Build, choice: str) -> None:
    """Attention computed at every n-th of the middle steps, and taken over in between."""
    every_nth = int(choice.removeprefix("pyramid-"))
    settings = {f"{kind}_attention_block_skip_range": every_nth for kind in KINDS_OF_ATTENTION}

    def timestep() -> Any:
        return build.pipe.current_timestep

    for denoiser in build.denoisers().values():
        config = cache_config("pyramid", current_timestep_callback=timestep, **settings)
        denoiser.enable_cache(config)
    count_skips(build, broadcasts())
