"""Precision of the weights and of the arithmetic."""

from __future__ import annotations

from search_space.build import Build
from search_space.knob import Choice, Context, Stage, Tier, knob


def bfloat16(context: Context) -> str | None:
    """On a CUDA device bfloat16 is emulated below compute capability 8.0."""
    machine = context.machine
    if machine.device != "cuda" or "bf16" in machine.native_dtypes:
        return None
    return f"{machine.device_name} has no bfloat16 arithmetic of its own"


def precision_effect(build: Build, choice: str) -> str | None:
    """Most weights of each model must have the dtype asked for; some models keep parts in fp32."""
    for name, model in build.models().items():
        counts: dict[str, int] = {}
        for weight in model.parameters():
            dtype = str(weight.dtype).removeprefix("torch.")
            counts[dtype] = counts.get(dtype, 0) + weight.nelement() + 1
        found = max(counts, key=lambda dtype: counts[dtype])
        if found != {"bf16": "bfloat16", "fp16": "float16"}[choice]:
            return f"the weights of {name} are {found}"
    return None


@knob(
    Stage.LOAD,
    choices=(
        Choice("fp32"),
        Choice("bf16", need=bfloat16, tier=Tier.NEAR),
        Choice("fp16", tier=Tier.NEAR),
    ),
    effect=precision_effect,
    run_on=("cpu",),
)
def precision(build: Build, choice: str) -> None:
    """One dtype for the denoiser, the text encoders and the VAE."""
    import torch

    build.load["dtype"] = {"bf16": torch.bfloat16, "fp16": torch.float16}[choice]
