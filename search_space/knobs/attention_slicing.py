"""Attention slicing: the heads of an attention layer one after the other."""

from __future__ import annotations

from search_space.build import Build
from search_space.knob import STEP, Choice, Conflict, Context, Stage, Tier, goes_only_with, knob
from search_space.knobs.attention_sdpa import SDPA_BACKENDS
from search_space.needs import device, need


# On transformers the call does nothing.
@need("a UNet that can slice its attention")
def sliceable(context: Context) -> str | None:
    denoisers = context.spec.denoisers
    if any(denoiser.slices_attention for denoiser in denoisers):
        return None
    return f"{denoisers[0].class_name} cannot slice its attention"


def attention_slicing_effect(build: Build, choice: str) -> str | None:
    processors = {
        type(processor).__name__
        for denoiser in build.denoisers().values()
        for processor in denoiser.attn_processors.values()
    }
    if any("Sliced" in name for name in processors):
        return None
    return f"the attention processors are {', '.join(sorted(processors))}"


@knob(
    Stage.ATTENTION,
    choices=(
        Choice("off"),
        Choice("auto", need=sliceable, tier=Tier.LOSSLESS),
        Choice("max", need=sliceable, tier=Tier.LOSSLESS),
    ),
    conflicts=(
        Conflict("attention", ("xformers", "plain"), "each sets the attention processor"),
        Conflict("attention", tuple(SDPA_BACKENDS), "slices are not computed by that operator"),
        Conflict(
            "precision",
            ("fp16",),
            "on MPS sliced attention gives NaN in fp16",
            where=device("mps"),
        ),
        goes_only_with(
            "engine",
            ("eager",),
            "a graph would hold every slice as nodes of its own, and take long to make",
        ),
    ),
    effect=attention_slicing_effect,
    run_on=("cpu",),
    parts=STEP,
)
def attention_slicing(build: Build, choice: str) -> None:
    """Attention computed for some heads at a time: less memory where attention is not fused."""
    for denoiser in build.denoisers().values():
        if hasattr(denoiser, "set_attention_slice"):
            denoiser.set_attention_slice(choice)
