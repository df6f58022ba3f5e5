"""The attention implementation. Others than these are declared in files of their own."""

from __future__ import annotations

from typing import Any

from search_space.build import Build
from search_space.knob import STEP, Choice, Context, Stage, Tier, knob
from search_space.needs import need
from search_space.pipeline.attention_layers import attention_layers

REPLACEABLE = {"AttnProcessor", "AttnProcessor2_0"}
"""What UNets have by default, with torch 2 and before it: both do the same and hold nothing."""

COMPILED = (
    "compile-regional",
    "compile-default",
    "compile-reduce-overhead",
    "compile-max-autotune-no-cudagraphs",
    "compile-max-autotune",
)
PYTORCH_ENGINES = ("eager", *COMPILED)
"""The engines that run the attention kernel which was chosen; an exported graph has its own."""

HALF = ("bf16", "fp16")
"""The precisions that kernels of 16 bits go with."""


# Other processors carry rotary or joint logic that a replacement would lose.
@need("a UNet with the default attention processors")
def replaceable(context: Context) -> str | None:
    for denoiser in context.spec.denoisers:
        if not denoiser.slices_attention or set(denoiser.attention_processors) - REPLACEABLE:
            return f"{denoiser.class_name} does its attention in a way that cannot be replaced"
    return None


# On other models setting an attention backend does nothing.
@need("a denoiser that calls diffusers' attention dispatcher")
def dispatching(context: Context) -> str | None:
    for denoiser in context.spec.denoisers:
        if not denoiser.dispatches_attention:
            return f"{denoiser.class_name} does not call the attention dispatcher of diffusers"
    return None


@need("a denoiser that is called without attention mask")
def unmasked(context: Context) -> str | None:
    for denoiser in context.spec.denoisers:
        if denoiser.masks_attention:
            return f"{denoiser.class_name} is called with an attention mask, which it cannot take"
    return None


def processors_in_use(denoiser: Any) -> set[str]:
    """The attention backends that are set, by name, and the classes of processors without one."""
    backends = [
        getattr(layer.processor, "_attention_backend", None) or type(layer.processor).__name__
        for layer in attention_layers(denoiser)
    ]
    return {str(getattr(backend, "value", backend)) for backend in backends}


def plain_effect(build: Build, choice: str) -> str | None:
    for name, denoiser in build.denoisers().items():
        processors = processors_in_use(denoiser)
        if processors != {"AttnProcessor"}:
            return f"the attention processors of {name} are {', '.join(sorted(processors))}"
    return None


@knob(
    Stage.ATTENTION,
    choices=(Choice("sdpa"), Choice("plain", need=replaceable, tier=Tier.LOSSLESS)),
    effect=plain_effect,
    run_on=("cpu",),
    parts=STEP,
)
def attention(build: Build, choice: str) -> None:
    """What computes the denoiser's attention: by default the operator of PyTorch that fuses it.

    ``plain`` are matrix products one by one.
    """
    from diffusers.models.attention_processor import AttnProcessor

    for denoiser in build.denoisers().values():
        denoiser.set_attn_processor(AttnProcessor())
