"""DBCache of the package cache-dit, also for models that have no cache in diffusers."""

from __future__ import annotations

from search_space.build import Build
from search_space.knob import Choice, Conflict, Context, Tier, more_choices
from search_space.knobs.cache import BREAKS_THE_GRAPH, enough_steps
from search_space.needs import every, installed, need

WARM_UP_SHARE = 0.2
"""The share of the steps that is computed before anything is skipped: they lay out the image. A
fifth, as MagCache of diffusers keeps; cache-dit's own 8 steps would be all of a short schedule."""


# Asking the package takes seconds of imports; a test compares the two.
KNOWN_TO_CACHE_DIT = (
    "Allegro",
    "Amused",
    "AnyFlow",
    "AuraFlow",
    "BooguImage",
    "Bria",
    "BriaFibo",
    "Chroma",
    "ChronoEdit",
    "CogVideoX",
    "CogView3Plus",
    "CogView4",
    "ConsisID",
    "Cosmos",
    "DiT",
    "EasyAnimate",
    "ErnieImage",
    "Flux",
    "GlmImage",
    "Helios",
    "HiDream",
    "HunyuanDiT",
    "HunyuanDiTPAG",
    "HunyuanImage",
    "HunyuanVideo",
    "JoyImage",
    "Kandinsky5",
    "Krea2",
    "LTX",
    "LongCatImage",
    "Lumina",
    "Mochi",
    "OmniGen",
    "OvisImage",
    "PRX",
    "PixArt",
    "QwenImage",
    "Sana",
    "ShapE",
    "SkyReelsV2",
    "StableAudio",
    "StableDiffusion3",
    "VisualCloze",
    "Wan",
    "ZImage",
)
"""How the names of the pipelines begin that cache-dit 1.5 knows."""


@need("a pipeline that cache-dit knows")
def known_to_cache_dit(context: Context) -> str | None:
    if context.spec.class_name.startswith(KNOWN_TO_CACHE_DIT):
        return None
    return f"cache-dit does not know {context.spec.class_name}"


def skipped_steps(build: Build) -> list[int]:
    """The steps of the last call in which blocks were skipped."""
    import cache_dit

    stats = cache_dit.summary(build.pipe, logging=False)
    return [step for model in stats for step in (*model.cached_steps, *model.cfg_cached_steps)]


def dual_block_effect(build: Build, choice: str) -> str | None:
    """In at least one step of the last call blocks must have been skipped, as cache-dit counts."""
    if "cache_dit" not in build.evidence:
        return "cache-dit was not switched on"
    return None if skipped_steps(build) else "no step of the last call skipped a block"


DUAL_BLOCK = every(installed("cache-dit", "caches"), known_to_cache_dit, enough_steps)


@more_choices(
    "cache",
    choices=(
        # cache-dit's own threshold, two and three times it.
        Choice("dual-block-0.08", need=DUAL_BLOCK, tier=Tier.LOSSY, steps_differ=True),
        Choice("dual-block-0.16", need=DUAL_BLOCK, tier=Tier.LOSSY, steps_differ=True),
        Choice("dual-block-0.24", need=DUAL_BLOCK, tier=Tier.LOSSY, steps_differ=True),
    ),
    conflicts=(
        BREAKS_THE_GRAPH,
        Conflict(
            "placement",
            ("group-offload-block", "group-offload-leaf", "group-offload-leaf-stream"),
            "cache-dit says that it does not get along with groups of layers that are moved",
        ),
    ),
    effect=dual_block_effect,
    run_on=("cpu",),
)
def dual_block_cache(build: Build, choice: str) -> None:
    """Blocks skipped where the residual of the first ones has hardly changed, by cache-dit."""
    import cache_dit

    adapter = cache_dit.BlockAdapter.normalize(cache_dit.get_adapter(build.pipe))
    shortest = min(len(blocks) for blocks in cache_dit.BlockAdapter.flatten(adapter.blocks))
    config = cache_dit.DBCacheConfig(
        # The package's own 8 of a large model, and fewer of one with few blocks.
        Fn_compute_blocks=max(1, min(8, shortest // 4)),
        residual_diff_threshold=float(choice.removeprefix("dual-block-")),
        max_warmup_steps=round(WARM_UP_SHARE * build.call["num_inference_steps"]),
    )
    cache_dit.enable_cache(adapter, cache_config=config)
    build.evidence["cache_dit"] = config
