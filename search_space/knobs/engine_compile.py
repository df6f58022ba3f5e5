"""torch.compile of the denoiser, the VAE's decoder and the text encoders by inductor."""

from __future__ import annotations

from typing import Any

from search_space.build import Build
from search_space.knob import Choice, Conflict, Context, Tier, more_choices
from search_space.knobs.attention import HALF
from search_space.needs import cpp_compiler, device, every, need, not_device
from search_space.shapes import Shapes

BROKEN = "in 16 bits inductor's code for this decoder gives NaN on a CPU"


@need("a denoiser that names its repeated blocks")
def repeated_blocks(context: Context) -> str | None:
    for denoiser in context.spec.denoisers:
        if not denoiser.repeats_blocks:
            return f"{denoiser.class_name} does not name its repeated blocks"
    return None


COMPILES = every(
    not_device("hpu", "inductor makes no code for Gaudi: take engine=hpu-compile"), cpp_compiler
)


# What inductor of torch 2.13 makes of this decoder gives NaN in 16 bits.
@need("the VAE of Wan on a CPU")
def vae_of_wan_on_a_cpu(context: Context) -> str | None:
    vae = context.spec.vae
    wan = vae is not None and vae.class_name == "AutoencoderKLWan"
    return None if wan and context.machine.device == "cpu" else "that decoder is not compiled here"


def torch_compile_effect(build: Build, choice: str) -> str | None:
    """Dynamo must have captured graphs since the pipeline was compiled."""
    from torch._dynamo.utils import counters

    if counters["stats"]["unique_graphs"] > 0:
        return None
    return "torch.compile captured no graph"


def inductor_options(build: Build, mode: str) -> dict[str, Any] | None:
    """What inductor is told: the mode's options and those that other knobs gathered."""
    from torch._inductor import list_mode_options

    options = {} if mode == "default" else dict(list_mode_options(mode))
    if build.device == "cpu":
        # CUDA graphs do not exist here.
        options.pop("triton.cudagraphs", None)
    return options | build.compile_options or None


@more_choices(
    "engine",
    choices=(
        Choice(
            "compile-regional",
            need=every(COMPILES, repeated_blocks),
            tier=Tier.LOSSLESS,
            run_on=("cpu",),
        ),
        Choice("compile-default", need=COMPILES, tier=Tier.LOSSLESS),
        Choice(
            "compile-reduce-overhead",
            need=device("cuda", what="reduce-overhead records CUDA graphs: it"),
            tier=Tier.LOSSLESS,
            run_on=(),
        ),
        Choice(
            "compile-max-autotune-no-cudagraphs",
            need=device(
                "cuda", what="max-autotune records no CUDA graphs elsewhere: leaving them out"
            ),
            tier=Tier.LOSSLESS,
            run_on=(),
        ),
        Choice("compile-max-autotune", need=COMPILES, tier=Tier.LOSSLESS),
    ),
    effect=torch_compile_effect,
    run_on=("cpu",),
    shapes=Shapes.RECOMPILED,
)
def torch_compile(build: Build, choice: str) -> None:
    """The denoiser compiled by inductor: its repeated blocks, or the whole model in one mode."""
    mode = choice.removeprefix("compile-")
    for denoiser in build.denoisers().values():
        if mode == "regional":
            options = inductor_options(build, "default")
            denoiser.compile_repeated_blocks(fullgraph=True, options=options)
        else:
            denoiser.compile(options=inductor_options(build, mode))


@more_choices(
    "vae_engine",
    choices=(Choice("compile", need=COMPILES, tier=Tier.LOSSLESS),),
    conflicts=(Conflict("precision", HALF, BROKEN, where=vae_of_wan_on_a_cpu),),
    effect=torch_compile_effect,
    run_on=("cpu",),
    shapes=Shapes.RECOMPILED,
)
def torch_compile_vae(build: Build, choice: str) -> None:
    """The VAE's decoder compiled by inductor."""
    build.pipe.vae.decoder.compile(options=inductor_options(build, "default"))


@more_choices(
    "text_encoder_engine",
    choices=(Choice("compile", need=COMPILES, tier=Tier.LOSSLESS),),
    effect=torch_compile_effect,
    run_on=("cpu",),
    shapes=Shapes.RECOMPILED,
)
def torch_compile_text_encoder(build: Build, choice: str) -> None:
    """The text encoders compiled by inductor."""
    for encoder in build.text_encoders().values():
        encoder.compile(options=inductor_options(build, "default"))
