"""Query, key and value projected by one matrix product in place of three."""

from __future__ import annotations

from search_space.build import Build
from search_space.knob import STEP, Choice, Conflict, Context, Stage, Tier, knob
from search_space.knobs.attention import dispatching
from search_space.needs import need
from search_space.pipeline.attention_layers import attention_layers, uses_fused_weights


# Many models fuse their projections and go on using the weights that they had before.
@need("attention that uses fused projections")
def fusible(context: Context) -> str | None:
    for denoiser in context.spec.denoisers:
        if any("Added" in name for name in denoiser.attention_processors):
            return f"{denoiser.class_name} has added key and value projections: it refuses to fuse"
        if not denoiser.fuses_projections:
            return f"the attention of {denoiser.class_name} does not use fused projections"
    return None


def fused_projections_effect(build: Build, choice: str) -> str | None:
    """Fused layers must be there, and the processors of all of them must use the fused weights."""
    for name, denoiser in build.denoisers().items():
        layers = attention_layers(denoiser)
        fused = [layer for layer in layers if getattr(layer, "fused_projections", False)]
        if not fused:
            return f"no attention layer of {name} is fused"
        ignoring = {type(part.processor).__name__ for part in fused if not uses_fused_weights(part)}
        if ignoring:
            return f"{', '.join(sorted(ignoring))} of {name} does not use the fused projections"
    return None


@need("a denoiser that does not call diffusers' attention dispatcher")
def not_dispatching(context: Context) -> str | None:
    return None if dispatching(context) else "the denoiser calls the attention dispatcher"


@knob(
    Stage.FUSE,
    choices=(Choice("off"), Choice("on", need=fusible, tier=Tier.LOSSLESS)),
    conflicts=(
        Conflict(
            "attention",
            ("xformers", "plain"),
            "each sets the attention processor",
            where=not_dispatching,
        ),
        Conflict("attention_slicing", ("auto", "max"), "each sets the attention processor"),
    ),
    effect=fused_projections_effect,
    run_on=("cpu",),
    parts=STEP,
)
def fused_projections(build: Build, choice: str) -> None:
    """Query, key and value of the attention by one matrix product: more memory for weights."""
    for denoiser in build.denoisers().values():
        denoiser.fuse_qkv_projections()
