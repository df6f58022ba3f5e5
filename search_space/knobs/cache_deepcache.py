"""DeepCache: the inner blocks of a UNet computed at some steps alone."""

from __future__ import annotations

from typing import Any

from search_space.build import Build
from search_space.knob import Choice, Context, Tier, goes_only_with, more_choices
from search_space.knobs.cache import enough_steps
from search_space.needs import every, installed, need


@need("one UNet2DConditionModel as denoiser")
def a_single_unet(context: Context) -> str | None:
    names = [denoiser.class_name for denoiser in context.spec.denoisers]
    if names == ["UNet2DConditionModel"]:
        return None
    return f"DeepCache is made for one UNet2DConditionModel, the pipeline has {', '.join(names)}"


def deepcache_effect(build: Build, choice: str) -> str | None:
    """The innermost block must have been computed in fewer calls than the UNet was called in."""
    counts = build.evidence.get("deepcache")
    if counts is None:
        return "DeepCache was not switched on"
    if 0 < counts["middle"] < counts["unet"]:
        return None
    return f"the innermost block was computed in {counts['middle']} of {counts['unet']} calls"


DEEPCACHE = every(installed("DeepCache", "caches"), a_single_unet, enough_steps)


@more_choices(
    "cache",
    choices=(
        Choice("deepcache-2", need=DEEPCACHE, tier=Tier.LOSSY, steps_differ=True),
        Choice("deepcache-3", need=DEEPCACHE, tier=Tier.LOSSY, steps_differ=True),
        Choice("deepcache-5", need=DEEPCACHE, tier=Tier.LOSSY, steps_differ=True),
    ),
    conflicts=(
        goes_only_with(
            "engine",
            ("eager", "compile-regional"),
            "the steps differ in what is computed, and the graph of a whole model does not",
        ),
    ),
    effect=deepcache_effect,
    run_on=("cpu",),
)
def deepcache(build: Build, choice: str) -> None:
    """All but the outermost blocks of a UNet computed at every n-th step, and kept in between."""
    from DeepCache import DeepCacheSDHelper

    unet = build.pipe.unet
    counts = build.evidence["deepcache"] = {"unet": 0, "middle": 0}

    def counted(name: str) -> Any:
        def count(*_: Any) -> None:
            counts[name] += 1

        return count

    unet.register_forward_pre_hook(counted("unet"))
    # DeepCache stands around the block: what is inside it is run where the block is computed.
    unet.mid_block.resnets[0].register_forward_pre_hook(counted("middle"))
    helper = DeepCacheSDHelper(pipe=build.pipe)
    helper.set_params(cache_interval=int(choice.removeprefix("deepcache-")), cache_branch_id=0)
    helper.enable()
