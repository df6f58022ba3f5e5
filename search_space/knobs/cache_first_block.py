"""First Block Cache: where the first block changes little, the others are skipped."""

from __future__ import annotations

from typing import Any

from search_space.build import Build
from search_space.knob import Choice, Tier, more_choices
from search_space.knobs.cache import BREAKS_THE_GRAPH, caching
from search_space.pipeline.step_caches import cache_config, count_skips, hooks_of, nothing_skipped


def first_block_skips(denoiser: Any) -> bool:
    """Whether the blocks after the first were skipped in the call that is ending."""
    hooks = hooks_of(denoiser, "first-block")
    return bool(hooks) and not hooks[0].state_manager.get_state().should_compute


def first_block_effect(build: Build, choice: str) -> str | None:
    return nothing_skipped(build)


@more_choices(
    "cache",
    choices=(
        # The threshold of diffusers, two and four times it: more is skipped, and more is lost.
        Choice("first-block-0.05", need=caching("first-block"), tier=Tier.LOSSY, steps_differ=True),
        Choice("first-block-0.1", need=caching("first-block"), tier=Tier.LOSSY, steps_differ=True),
        Choice("first-block-0.2", need=caching("first-block"), tier=Tier.LOSSY, steps_differ=True),
    ),
    conflicts=(BREAKS_THE_GRAPH,),
    effect=first_block_effect,
    run_on=("cpu",),
)
def first_block_cache(build: Build, choice: str) -> None:
    """All blocks but the first skipped where its residual has hardly changed."""
    threshold = float(choice.removeprefix("first-block-"))
    for denoiser in build.denoisers().values():
        denoiser.enable_cache(cache_config("first-block", threshold=threshold))
    count_skips(build, first_block_skips)
