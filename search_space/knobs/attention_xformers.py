"""Attention by xFormers."""

from __future__ import annotations

from search_space.build import Build
from search_space.knob import Choice, Context, Tier, goes_only_with, more_choices
from search_space.knobs.attention import (
    PYTORCH_ENGINES,
    dispatching,
    processors_in_use,
    replaceable,
)
from search_space.needs import device, every, installed, need, probe
from search_space.pipeline.attention_layers import attention_layers, dispatches


@need("a denoiser that calls the attention dispatcher or has default processors")
def xformers_fits(context: Context) -> str | None:
    return None if dispatching(context) is None else replaceable(context)


def xformers_works(device_name: str, head_size: int) -> str | None:
    """One real call: the package can be importable while its extension does not load."""
    import torch

    try:
        import xformers  # noqa: F401
    except ModuleNotFoundError:
        return "xformers is not installed: pip install 'diffusers-autotune[xformers]'"
    try:
        from xformers.ops import memory_efficient_attention

        query = torch.randn(1, 64, 2, head_size, device=device_name, dtype=torch.float16)
        memory_efficient_attention(query, query, query)
    except Exception as error:
        first_line = (
            str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        )
        return f"xFormers does not work here, its extension does not load: {first_line}"
    return None


def xformers_effect(build: Build, choice: str) -> str | None:
    for name, denoiser in build.denoisers().items():
        processors = processors_in_use(denoiser)
        if not processors <= {"XFormersAttnProcessor", "xformers"}:
            return f"the attention processors of {name} are {', '.join(sorted(processors))}"
    return None


@more_choices(
    "attention",
    choices=(
        Choice(
            "xformers",
            need=every(
                xformers_fits,
                installed("xformers", "xformers"),
                device("cuda", what="xFormers"),
                probe("xformers"),
            ),
            tier=Tier.LOSSLESS,
        ),
    ),
    conflicts=(
        goes_only_with("engine", PYTORCH_ENGINES, "the xFormers operator cannot be exported"),
    ),
    effect=xformers_effect,
    probes={"xformers": xformers_works},
)
def attention_xformers(build: Build, choice: str) -> None:
    """Attention by the memory-efficient kernels of xFormers."""
    for denoiser in build.denoisers().values():
        if any(map(dispatches, attention_layers(denoiser))):
            denoiser.set_attention_backend("xformers")
        else:
            denoiser.enable_xformers_memory_efficient_attention()
