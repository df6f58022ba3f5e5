"""Precision of the weights and of the arithmetic."""

from __future__ import annotations

from typing import Any

from search_space.build import Build
from search_space.knob import Choice, Context, Stage, Tier, knob
from search_space.needs import need, probe

FLOATS = ("float32", "bfloat16", "float16")


# CUDA emulates it below compute capability 8.0; on MPS it came with macOS 14.
@need("hardware with bfloat16 on cuda or macOS 14 on mps")
def bfloat16(context: Context) -> str | None:
    machine = context.machine
    if machine.device == "mps":
        return probe("bf16")(context)
    if machine.device != "cuda" or "bf16" in machine.native_dtypes:
        return None
    return f"{machine.device_name} has no bfloat16 arithmetic of its own"


def bfloat16_works(device_name: str, head_size: int) -> str | None:
    """One sum in bfloat16: a system that does not know the dtype says so."""
    import torch

    one = torch.ones(1, dtype=torch.bfloat16, device=device_name)
    return None if (one + one).item() == 2 else "bfloat16 adds wrong here"


def kept_in_fp32(model: Any) -> tuple[str, ...]:
    """Parts of the names of weights that the model leaves in fp32, whatever is asked for."""
    names = ("_keep_in_fp32_modules", "_keep_in_fp32_modules_strict")
    return tuple(part for name in names for part in getattr(model, name, None) or ())


def dtype_of_most(model: Any) -> str | None:
    """The dtype of most weights; those that are quantized or kept in fp32 do not count.

    None where no weight is left to count. Released weights have no elements, but a dtype.
    """
    fp32_names = kept_in_fp32(model)
    counts: dict[str, int] = {}
    for name, weight in model.named_parameters():
        dtype = str(weight.dtype).removeprefix("torch.")
        if dtype in FLOATS and not any(part in name for part in fp32_names):
            counts[dtype] = counts.get(dtype, 0) + weight.nelement() + 1
    return max(counts, key=lambda dtype: counts[dtype], default=None)


def precision_effect(build: Build, choice: str) -> str | None:
    """Most weights of each model must have the dtype asked for.

    Weights that are quantized or kept in fp32 do not count, nor does a VAE with a precision of its
    own.
    """
    models = {**build.models(), **build.text_encoders()}
    if "decoded_in" in build.evidence:
        del models["vae"]
    for name, model in models.items():
        dtype = dtype_of_most(model)
        if dtype not in (None, {"bf16": "bfloat16", "fp16": "float16"}[choice]):
            return f"the weights of {name} are {dtype}"
    return None


@knob(
    Stage.LOAD,
    choices=(
        Choice("fp32"),
        Choice("bf16", need=bfloat16, tier=Tier.NEAR),
        Choice("fp16", tier=Tier.NEAR),
    ),
    effect=precision_effect,
    probes={"bf16": bfloat16_works},
    run_on=("cpu",),
)
def precision(build: Build, choice: str) -> None:
    """One dtype for the denoiser, the text encoders and the VAE."""
    import torch

    build.load["dtype"] = {"bf16": torch.bfloat16, "fp16": torch.float16}[choice]
