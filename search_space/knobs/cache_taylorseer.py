"""TaylorSeer: between full steps, outputs are foretold from how they changed before."""

from __future__ import annotations

from typing import Any

from search_space.build import Build
from search_space.knob import Choice, Tier, more_choices
from search_space.knobs.cache import BREAKS_THE_GRAPH, caching
from search_space.pipeline.step_caches import cache_config, count_skips, hooks_of, nothing_skipped


def taylorseer_skips(denoiser: Any) -> bool:
    """Whether outputs were foretold in the call that is ending."""
    states = [hook.state_manager.get_state() for hook in hooks_of(denoiser, "taylorseer")[:1]]
    return any(state.current_step != state.last_update_step for state in states)


def taylorseer_effect(build: Build, choice: str) -> str | None:
    return nothing_skipped(build)


@more_choices(
    "cache",
    choices=(
        # The interval of diffusers is 5; a shorter one foretells less, and less far.
        Choice("taylorseer-3", need=caching("taylorseer"), tier=Tier.LOSSY, steps_differ=True),
        Choice("taylorseer-5", need=caching("taylorseer"), tier=Tier.LOSSY, steps_differ=True),
        Choice(
            "taylorseer-lite-3", need=caching("taylorseer-lite"), tier=Tier.LOSSY, steps_differ=True
        ),
        Choice(
            "taylorseer-lite-5", need=caching("taylorseer-lite"), tier=Tier.LOSSY, steps_differ=True
        ),
    ),
    conflicts=(BREAKS_THE_GRAPH,),
    effect=taylorseer_effect,
    run_on=("cpu",),
)
def taylorseer_cache(build: Build, choice: str) -> None:
    """All but every n-th step foretold: the attention's outputs, in lite mode the model's alone."""
    kind, _, interval = choice.rpartition("-")
    for denoiser in build.denoisers().values():
        denoiser.enable_cache(cache_config(kind, cache_interval=int(interval)))
    count_skips(build, taylorseer_skips)
