"""The denoiser's linear layers quantized by torchao."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from search_space.build import Build
from search_space.hardware.detect import int8_saturates
from search_space.knob import STEP, Choice, Need, Stage, Tier, goes_only_with, knob
from search_space.knobs.attention import PYTORCH_ENGINES
from search_space.knobs.precision import kept_in_fp32
from search_space.needs import device, every, installed, not_device, probe, seven_bits

STAYS_IN_PYTORCH = goes_only_with(
    "engine",
    PYTORCH_ENGINES,
    "quantized weights are not exported, other runtimes quantize by themselves",
)
BF16_ALONE = goes_only_with("precision", ("bf16",), "its kernels multiply with bf16 alone")

PER_SAMPLE = ("emb", "time", "norm", "ada", "_mod")
"""Parts of the names of layers that see one row a sample: timesteps, modulations."""


def quantizable(model: Any, choice: str) -> Callable[[Any, str], bool]:
    """Tells from a layer and its name whether the choice quantizes it.

    Kernels want sides that are multiples of 16, int4 in groups of 128. Where activations are
    quantized too, layers with a row a sample are left out: CUDA's int8 product needs more than 16.
    """
    import torch

    width = 128 if "int4" in choice else 16
    excluded = (*kept_in_fp32(model), *(PER_SAMPLE if "dynamic" in choice else ()))

    def is_quantizable(layer: Any, name: str) -> bool:
        if type(layer) is not torch.nn.Linear or any(part in name for part in excluded):
            return False
        return layer.in_features % width == 0 and layer.out_features % 16 == 0

    return is_quantizable


def torchao_config(choice: str, device_name: str) -> Any:
    """The configuration of torchao; what inductor is told is left to a knob of its own."""
    from torchao import quantization

    if choice == "torchao-int8-weights":
        config = quantization.Int8WeightOnlyConfig()
    elif choice == "torchao-int8-dynamic":
        narrow = int8_saturates(device_name)
        config = quantization.Int8DynamicActivationInt8WeightConfig(reduce_range=narrow)
    elif choice == "torchao-fp8-weights":
        config = quantization.Float8WeightOnlyConfig()
    elif choice == "torchao-fp8-dynamic":
        by_row = quantization.PerRow()
        config = quantization.Float8DynamicActivationFloat8WeightConfig(granularity=by_row)
    else:
        packing = "tile_packed_to_4d" if device_name == "cuda" else "plain_int32"
        config = quantization.Int4WeightOnlyConfig(int4_packing_format=packing)
    config.set_inductor_config = False
    return config


def torchao_probe(choice: str) -> Callable[[str, int], str | None]:
    """A probe that quantizes a layer and calls it: there are kernels for few devices alone."""

    def quantized_layer_works(device_name: str, head_size: int) -> str | None:
        if device_name not in ("cuda", "xpu"):
            return f"{choice} needs cuda or xpu, this machine's device is {device_name}"
        import torch
        from torchao.quantization import quantize_

        layer = torch.nn.Linear(1024, 1024, dtype=torch.bfloat16, device=device_name)
        quantize_(layer, torchao_config(choice, device_name))
        with torch.no_grad():
            output = layer(torch.randn(64, 1024, dtype=torch.bfloat16, device=device_name))
        return None if output.isfinite().all() else f"{choice} gives NaN or infinity here"

    return quantized_layer_works


def torchao_effect(build: Build, choice: str) -> str | None:
    """Each layer that the choice quantizes must hold a tensor of torchao, and there must be one."""
    from collections import Counter

    kind = {"int8": "Int8", "fp8": "Float8", "int4": "Int4"}[choice.split("-")[1]]
    counts: Counter[bool] = Counter()
    for denoiser in build.denoisers().values():
        is_quantizable = quantizable(denoiser, choice)
        for name, layer in denoiser.named_modules():
            if is_quantizable(layer, name):
                dynamic = getattr(layer.weight, "act_quant_kwargs", None) is not None
                right = type(layer.weight).__name__.startswith(kind)
                counts[right and dynamic == ("dynamic" in choice)] += 1
    if not counts:
        return "no linear layer has the sizes that can be quantized"
    if counts[False]:
        return f"{counts[False]} of {counts.total()} linear layers are not quantized"
    return None


def with_torchao(*needs: Need) -> Need:
    return every(installed("torchao", "quantization"), *needs)


TORCHAO_PROBES = {
    choice: torchao_probe(choice) for choice in ("torchao-fp8-dynamic", "torchao-int4-weights")
}


@knob(
    Stage.QUANTIZE,
    choices=(
        Choice("none"),
        Choice("torchao-int8-weights", need=with_torchao(), tier=Tier.NEAR, run_on=("cpu",)),
        Choice(
            "torchao-int8-dynamic",
            need=with_torchao(device("cpu", "cuda", "xpu", what="a product of int8 matrices")),
            tier=Tier.NEAR,
            run_on=("cpu",),
            note=seven_bits,
        ),
        Choice(
            "torchao-fp8-weights",
            need=with_torchao(not_device("mps", "float8 does not exist on mps")),
            tier=Tier.NEAR,
            run_on=("cpu",),
        ),
        Choice(
            "torchao-fp8-dynamic",
            need=with_torchao(
                device("cuda", "xpu", what="a product of float8 matrices"),
                probe("torchao-fp8-dynamic"),
            ),
            conflicts=(BF16_ALONE,),
            tier=Tier.NEAR,
        ),
        Choice(
            "torchao-int4-weights",
            need=with_torchao(
                device("cuda", "xpu", what="a product with int4 weights"),
                probe("torchao-int4-weights"),
            ),
            conflicts=(BF16_ALONE,),
            tier=Tier.LOSSY,
        ),
    ),
    conflicts=(STAYS_IN_PYTORCH,),
    effect=torchao_effect,
    probes=TORCHAO_PROBES,
    parts=STEP,
)
def quantization(build: Build, choice: str) -> None:
    """The linear layers of the denoiser in 8 or 4 bits: the weights, if dynamic the inputs too."""
    from torchao.quantization import quantize_

    config = torchao_config(choice, build.device)
    for denoiser in build.denoisers().values():
        # Layer by layer on the device: some formats are packed there alone.
        quantize_(denoiser, config, quantizable(denoiser, choice), device=build.device)
    if choice == "torchao-int8-dynamic":
        # Otherwise the int32 product is written out before it is scaled.
        build.compile_options |= {"force_fuse_int_mm_with_mul": True}
