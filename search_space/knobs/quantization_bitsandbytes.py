"""The denoiser's linear layers quantized by bitsandbytes."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from search_space.build import Build
from search_space.knob import Choice, Tier, more_choices
from search_space.knobs.quantization import STAYS_IN_PYTORCH, quantizable
from search_space.needs import device, every, installed, probe

BITSANDBYTES = {"bnb-int8": "Linear8bitLt", "bnb-nf4": "Linear4bit"}
"""The class of bitsandbytes that takes the place of a linear layer."""


def bitsandbytes_layer(linear: Any, choice: str, device_name: str) -> Any:
    """A layer with the weights of a linear one; they are quantized as they get to the device."""
    import bitsandbytes

    sides = (linear.in_features, linear.out_features, linear.bias is not None)
    if choice == "bnb-int8":
        # The threshold of the LLM.int8() paper: larger inputs are not quantized.
        layer = bitsandbytes.nn.Linear8bitLt(
            *sides, has_fp16_weights=False, threshold=6.0, device="meta"
        )
        layer.weight = bitsandbytes.nn.Int8Params(
            linear.weight.data, requires_grad=False, has_fp16_weights=False
        )
    else:
        layer = bitsandbytes.nn.Linear4bit(
            *sides, compute_dtype=linear.weight.dtype, quant_type="nf4", device="meta"
        )
        layer.weight = bitsandbytes.nn.Params4bit(
            linear.weight.data, requires_grad=False, quant_type="nf4", module=layer
        )
    layer.bias = linear.bias
    return layer.eval().to(device_name)


def bitsandbytes_works(device_name: str, head_size: int) -> str | None:
    """One real call of each kind: the package is for all, its kernels are not."""
    import torch

    if find_spec("bitsandbytes") is None:
        return "bitsandbytes is not installed: pip install 'diffusers-autotune[bitsandbytes]'"

    for choice in BITSANDBYTES:
        linear = torch.nn.Linear(256, 256, dtype=torch.bfloat16)
        layer = bitsandbytes_layer(linear, choice, device_name)
        with torch.no_grad():
            output = layer(torch.randn(32, 256, dtype=torch.bfloat16, device=device_name))
        if not output.isfinite().all():
            return f"{choice} gives NaN or infinity here"
    return None


def sums_int8(device_name: str, head_size: int) -> str | None:
    """On a CPU a sum of the largest products: bitsandbytes knows no range but the whole of int8."""
    import torch

    if device_name != "cpu":
        return None
    rows = torch.full((32, 256), 127, dtype=torch.int8)
    exact = torch.full((32, 32), 256 * 127 * 127, dtype=torch.int32)
    if torch.equal(torch._int_mm(rows, rows.T), exact):
        return None
    return (
        "PyTorch's sums of 8-bit products saturate on this CPU, and bitsandbytes needs them whole"
    )


def bitsandbytes_effect(build: Build, choice: str) -> str | None:
    """No layer that is quantized may be left, and some layer must hold weights of 8 or 4 bits."""
    import torch

    stored = 0
    for name, denoiser in build.denoisers().items():
        is_quantizable = quantizable(denoiser, choice)
        unquantized = sum(is_quantizable(layer, place) for place, layer in denoiser.named_modules())
        if unquantized:
            return f"{unquantized} linear layers of {name} are not quantized"
        for layer in denoiser.modules():
            small = type(layer).__name__ == BITSANDBYTES[choice]
            stored += small and layer.weight.dtype in (torch.int8, torch.uint8)
    return None if stored else "no linear layer has the sizes that can be quantized"


BITSANDBYTES_NEED = every(
    installed("bitsandbytes", "bitsandbytes"),
    device("cpu", "cuda", "xpu", what="bitsandbytes"),
    probe("bitsandbytes"),
)


@more_choices(
    "quantization",
    choices=(
        Choice("bnb-int8", need=every(BITSANDBYTES_NEED, probe("bnb-int8")), tier=Tier.NEAR),
        Choice("bnb-nf4", need=BITSANDBYTES_NEED, tier=Tier.LOSSY),
    ),
    conflicts=(STAYS_IN_PYTORCH,),
    effect=bitsandbytes_effect,
    probes={"bitsandbytes": bitsandbytes_works, "bnb-int8": sums_int8},
    run_on=("cpu",),
)
def quantization_bitsandbytes(build: Build, choice: str) -> None:
    """The weights of the denoiser's linear layers in int8 or in 4 bits of normal distribution."""
    import logging

    # LLM.int8() multiplies in fp16; where the model is not, each call of each layer says so.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    for denoiser in build.denoisers().values():
        is_quantizable = quantizable(denoiser, choice)
        names = [name for name, layer in denoiser.named_modules() if is_quantizable(layer, name)]
        for name in names:
            layer = bitsandbytes_layer(denoiser.get_submodule(name), choice, build.device)
            denoiser.set_submodule(name, layer)
