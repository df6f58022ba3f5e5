"""The VAE in a precision of its own."""

from __future__ import annotations

from typing import Any

from search_space.build import Build
from search_space.knob import DECODE, Choice, Conflict, Context, Stage, Tier, goes_only_with, knob
from search_space.knobs.engine_compile import BROKEN, vae_of_wan_on_a_cpu
from search_space.knobs.precision import bfloat16
from search_space.needs import every, need


@need("a VAE")
def has_vae(context: Context) -> str | None:
    return None if context.spec.vae else f"{context.spec.class_name} has no VAE"


@need("a pipeline that does not widen a VAE in fp16")
def decodes_in_fp16(context: Context) -> str | None:
    if context.spec.upcasts_vae:
        return f"{context.spec.class_name} widens a VAE in fp16 to fp32 before it decodes"
    return None


def vae_precision_effect(build: Build, choice: str) -> str | None:
    """The last decode must have been in the dtype asked for: a pipeline may widen the VAE."""
    dtype = build.evidence.get("decoded_in")
    if dtype is None:
        return "the VAE decodes in the precision of the pipeline"
    return None if dtype == VAE_DTYPES[choice] else f"the VAE decoded in {dtype}"


VAE_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def decode_in_own_dtype(build: Build, vae: Any) -> None:
    """Have ``decode`` cast what it is given to the dtype that the VAE has at that moment."""
    import torch
    from torch.utils import _pytree as pytree

    decode = vae.decode

    def cast(leaf: Any) -> Any:
        floats = isinstance(leaf, torch.Tensor) and leaf.is_floating_point()
        return leaf.to(vae.dtype) if floats else leaf

    def decode_cast(*args: Any, **kwargs: Any) -> Any:
        build.evidence["decoded_in"] = str(vae.dtype).removeprefix("torch.")
        args, kwargs = pytree.tree_map(cast, (args, kwargs))
        return decode(*args, **kwargs)

    vae.decode = decode_cast


@knob(
    Stage.VAE,
    choices=(
        Choice("same"),
        Choice(
            "fp32",
            need=has_vae,
            conflicts=(
                goes_only_with("precision", ("bf16", "fp16"), "the VAE is in fp32 already"),
            ),
        ),
        Choice(
            "bf16",
            need=every(has_vae, bfloat16),
            conflicts=(
                goes_only_with("precision", ("fp32", "fp16"), "the VAE is in bf16 already"),
            ),
            tier=Tier.NEAR,
        ),
        Choice(
            "fp16",
            need=every(has_vae, decodes_in_fp16),
            conflicts=(
                goes_only_with("precision", ("fp32", "bf16"), "the VAE is in fp16 already"),
            ),
            tier=Tier.NEAR,
        ),
    ),
    conflicts=(
        goes_only_with(
            "vae_engine", ("eager", "compile"), "the runtime decodes in a precision of its own"
        ),
        Conflict(
            "vae_engine", ("compile",), BROKEN, choices=("bf16", "fp16"), where=vae_of_wan_on_a_cpu
        ),
    ),
    effect=vae_precision_effect,
    run_on=("cpu",),
    parts=DECODE,
)
def vae_precision(build: Build, choice: str) -> None:
    """The VAE loaded in a precision of its own, to which the latents are cast for the decode."""
    import torch

    # Loaded again, for what was loaded narrow is not made exact by widening it.
    vae = type(build.pipe.vae).from_pretrained(
        build.model, subfolder="vae", dtype=getattr(torch, VAE_DTYPES[choice])
    )
    build.pipe.register_modules(vae=vae)
    decode_in_own_dtype(build, vae)
