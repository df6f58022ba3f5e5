"""The order of the weights of convolutions in memory."""

from __future__ import annotations

from search_space.build import Build
from search_space.knob import Choice, Context, Stage, Tier, knob
from search_space.pipeline_spec import Component


def convolutional(component: Component | None) -> str | None:
    """channels_last is defined for weights of four dimensions alone."""
    if component is None:
        return "there is no VAE"
    if not component.convolutions:
        return f"{component.class_name} has no 2-D convolution"
    if component.weight_rank > 4:
        return f"{component.class_name} has weights of {component.weight_rank} dimensions"
    return None


def any_convolutional(context: Context) -> str | None:
    """One model of the pipeline is enough."""
    reasons = [convolutional(part) for part in (*context.spec.denoisers, context.spec.vae)]
    return None if None in reasons else "; ".join(dict.fromkeys(filter(None, reasons)))


def four_dimensional(model: object) -> bool:
    """Whether every weight fits the format and some convolution gains by it."""
    import torch

    assert isinstance(model, torch.nn.Module)
    parts = list(model.modules())
    ranks = [weight.dim() for weight in model.parameters()]
    return max(ranks) <= 4 and any(isinstance(part, torch.nn.Conv2d) for part in parts)


def memory_format_effect(build: Build, choice: str) -> str | None:
    """Some weight must be channels_last and not contiguous: a 1 x 1 kernel is always both."""
    import torch

    for model in build.models().values():
        for weight in model.parameters():
            last = weight.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last)
            if last and not weight.is_contiguous():
                return None
    if build.evidence.get("weights_released"):
        return None
    return "no weight is in channels_last order"


@knob(
    Stage.MEMORY_FORMAT,
    choices=(
        Choice("contiguous"),
        Choice("channels_last", need=any_convolutional, tier=Tier.LOSSLESS),
    ),
    effect=memory_format_effect,
    run_on=("cpu",),
)
def memory_format(build: Build, choice: str) -> None:
    """Weights of convolutions with the channels innermost, as many kernels want them."""
    import torch

    for model in build.models().values():
        if four_dimensional(model):
            model.to(memory_format=torch.channels_last)
