"""The attention implementation of UNets."""

from __future__ import annotations

from search_space.build import Build
from search_space.knob import Choice, Conflict, Context, Stage, Tier, knob
from search_space.needs import device, every, installed, probe

REPLACEABLE = {"AttnProcessor", "AttnProcessor2_0"}


def replaceable(context: Context) -> str | None:
    """Other processors carry rotary or joint logic that a replacement would lose."""
    for denoiser in context.spec.denoisers:
        if not denoiser.slices_attention or set(denoiser.attention_processors) - REPLACEABLE:
            return f"{denoiser.class_name} does its attention in a way that cannot be replaced"
    return None


def xformers_works(device_name: str) -> str | None:
    """One real call: the package can be importable while its extension does not load."""
    import torch

    try:
        from xformers.ops import memory_efficient_attention

        query = torch.randn(1, 64, 2, 64, device=device_name, dtype=torch.float16)
        memory_efficient_attention(query, query, query)
    except Exception as error:
        first_line = (
            str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        )
        return f"xFormers does not work here, its extension does not load: {first_line}"
    return None


def attention_effect(build: Build, choice: str) -> str | None:
    """Every processor of the denoiser must be of the class that the choice sets."""
    wanted = {"xformers": "XFormersAttnProcessor", "plain": "AttnProcessor"}[choice]
    for name, denoiser in build.denoisers().items():
        found = {type(processor).__name__ for processor in denoiser.attn_processors.values()}
        if found != {wanted}:
            return f"the attention processors of {name} are {', '.join(sorted(found))}"
    return None


@knob(
    Stage.ATTENTION,
    choices=(
        Choice("sdpa"),
        Choice(
            "xformers",
            need=every(
                replaceable,
                installed("xformers", "xformers"),
                device("cuda", what="xFormers"),
                probe("xformers"),
            ),
            tier=Tier.LOSSLESS,
            conflicts=(
                Conflict("engine", ("onnxruntime",), "the xFormers operator cannot be exported"),
            ),
        ),
        Choice("plain", need=replaceable, tier=Tier.LOSSLESS, run_on=("cpu",)),
    ),
    effect=attention_effect,
    probes={"xformers": xformers_works},
)
def attention(build: Build, choice: str) -> None:
    """Attention of a UNet by PyTorch's fused operator, by xFormers, or by plain matrix products."""
    for denoiser in build.denoisers().values():
        if choice == "xformers":
            denoiser.enable_xformers_memory_efficient_attention()
        else:
            from diffusers.models.attention_processor import AttnProcessor

            denoiser.set_attn_processor(AttnProcessor())
