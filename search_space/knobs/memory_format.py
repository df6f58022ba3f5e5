"""The order of the weights of convolutions in memory."""

from __future__ import annotations

from search_space.build import Build
from search_space.knob import DECODE, STEP, Choice, Conflict, Context, Stage, Tier, knob
from search_space.knobs.attention import PYTORCH_ENGINES
from search_space.needs import need
from search_space.pipeline.spec import Component

OWN_ORDER = "a runtime orders the weights of its graph by itself"


def convolutional(component: Component | None) -> str | None:
    """channels_last is defined for weights of four dimensions alone."""
    if component is None:
        return "there is no VAE"
    if not component.convolutions:
        return f"{component.class_name} has no 2-D convolution"
    if component.weight_rank > 4:
        return f"{component.class_name} has weights of {component.weight_rank} dimensions"
    return None


@need("a model with 2-D convolutions")
def any_convolutional(context: Context) -> str | None:
    reasons = [convolutional(part) for part in (*context.spec.denoisers, context.spec.vae)]
    return None if None in reasons else "; ".join(dict.fromkeys(filter(None, reasons)))


# Where the denoiser has convolutions, it is the one that gains; otherwise the VAE is.
@need("a denoiser with 2-D convolutions")
def of_the_denoiser(context: Context) -> str | None:
    reasons = [convolutional(part) for part in context.spec.denoisers]
    return None if None in reasons else "the denoiser has no convolutions"


@need("2-D convolutions in the VAE alone")
def of_the_vae_alone(context: Context) -> str | None:
    return "the denoiser has convolutions" if of_the_denoiser(context) is None else None


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
    return "no weight is in channels_last order"


@knob(
    Stage.MEMORY_FORMAT,
    choices=(
        Choice("contiguous"),
        Choice("channels_last", need=any_convolutional, tier=Tier.LOSSLESS),
    ),
    conflicts=(
        Conflict("engine", (), OWN_ORDER, where=of_the_denoiser, only=PYTORCH_ENGINES),
        Conflict("vae_engine", (), OWN_ORDER, where=of_the_vae_alone, only=("eager", "compile")),
    ),
    effect=memory_format_effect,
    run_on=("cpu",),
    parts=(*STEP, *DECODE),
)
def memory_format(build: Build, choice: str) -> None:
    """Weights of convolutions with the channels innermost, as many kernels want them."""
    import torch

    for model in build.models().values():
        if four_dimensional(model):
            model.to(memory_format=torch.channels_last)
