"""cuDNN's search for the fastest convolution."""

from __future__ import annotations

from search_space.build import Build
from search_space.knob import Choice, Context, Stage, Tier, knob
from search_space.needs import device, every, need


@need("a model with convolutions")
def convolves(context: Context) -> str | None:
    models = [model for model in (*context.spec.denoisers, context.spec.vae) if model]
    if any(model.convolutions or model.weight_rank > 4 for model in models):
        return None
    return "no model of the pipeline has convolutions"


def cudnn_benchmark_effect(build: Build, choice: str) -> str | None:
    """The search must be on, and a convolution must be left on the device to search for."""
    import torch

    if not torch.backends.cudnn.benchmark:
        return "cuDNN does not search for the fastest convolution"
    for model in build.models().values():
        for part in model.modules():
            is_convolution = isinstance(part, torch.nn.modules.conv._ConvNd) and part.weight.is_cuda
            if is_convolution and part.weight.numel():
                return None
    return "no convolution is left to cuDNN"


@knob(
    Stage.ENVIRONMENT,
    choices=(
        Choice("off"),
        Choice("on", need=every(device("cuda", what="cuDNN"), convolves), tier=Tier.LOSSLESS),
    ),
    effect=cudnn_benchmark_effect,
)
def cudnn_benchmark(build: Build, choice: str) -> None:
    """The first call of each shape tries the convolutions of cuDNN and keeps the fastest."""
    import torch

    torch.backends.cudnn.benchmark = True
