"""How exactly products of fp32 matrices are computed."""

from __future__ import annotations

from typing import Any

from search_space.build import Build
from search_space.knob import Choice, Context, Stage, Tier, goes_only_with, knob
from search_space.knobs.attention import PYTORCH_ENGINES
from search_space.needs import device, every, need, probe

FP32_ERROR = 1e-5
"""More than this is no error of fp32: a product of 512 x 512 numbers is off by 2e-7 in fp32, by
3e-4 in TF32 and by 2e-3 in bf16."""


# The tensor cores with TF32 are those with bf16.
@need("a GPU with TF32")
def native_tf32(context: Context) -> str | None:
    if "bf16" in context.machine.native_dtypes:
        return None
    return f"{context.machine.device_name} has no faster arithmetic for products of fp32 matrices"


def matmul_error(device: str) -> float:
    """How far a product of fp32 matrices is off on the device, relative to the exact one."""
    import torch

    draw = torch.Generator().manual_seed(0)
    left, right = (torch.randn(512, 512, generator=draw) for _ in range(2))
    exact = left.double() @ right.double()
    product = (left.to(device) @ right.to(device)).cpu().double()
    return float((product - exact).norm() / exact.norm())


def rounds_to_bf16(device: str, head_size: int) -> str | None:
    """A product once oneDNN may round: many CPUs with bf16 stay with fp32 all the same."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        error = matmul_error("cpu")
    finally:
        torch.set_float32_matmul_precision(before)
    return None if error > FP32_ERROR else "oneDNN multiplies fp32 matrices in fp32 on this CPU"


def float32_matmul_effect(build: Build, choice: str) -> str | None:
    """The denoiser must compute in fp32, and such a product must be less exact than in fp32."""
    import torch

    for name, denoiser in build.denoisers().items():
        if denoiser.dtype != torch.float32:
            return f"{name} computes in {str(denoiser.dtype).removeprefix('torch.')}"
    error = matmul_error(build.device)
    return None if error > FP32_ERROR else f"products of matrices are off by {error:.0e} as in fp32"


@knob(
    Stage.ENVIRONMENT,
    choices=(
        Choice("full"),
        Choice(
            "tf32",
            need=every(device("cuda", what="TF32"), native_tf32),
            tier=Tier.NEAR,
        ),
        Choice(
            "bf16",
            need=every(device("cpu", what="oneDNN"), probe("float32-matmul-bf16")),
            tier=Tier.NEAR,
            run_on=("cpu",),
        ),
    ),
    conflicts=(
        goes_only_with("precision", ("fp32",), "only products of fp32 matrices are concerned"),
        goes_only_with("engine", PYTORCH_ENGINES, "the setting is one of PyTorch"),
    ),
    effect=float32_matmul_effect,
    probes={"float32-matmul-bf16": rounds_to_bf16},
)
def float32_matmul(build: Build, choice: str) -> None:
    """Products of fp32 matrices in full, or rounded to TF32 or bf16 and summed up in fp32.

    On CUDA convolutions are in TF32 either way, as PyTorch has it.
    """
    import torch

    # By the older of two ways to say it: inductor asks by it, and fails where the newer was used.
    torch.set_float32_matmul_precision("high" if choice == "tf32" else "medium")
    if choice == "bf16":
        onednn: Any = torch.backends.mkldnn
        onednn.conv.fp32_precision = "bf16"
