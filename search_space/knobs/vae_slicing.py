"""VAE slicing: the images of a batch decoded one after the other."""

from __future__ import annotations

from search_space.build import Build
from search_space.knob import DECODE, Choice, Context, Stage, Tier, knob
from search_space.needs import need


@need("a VAE that can slice and more than one image in a call")
def batched(context: Context) -> str | None:
    vae = context.spec.vae
    if vae is None or not vae.slices:
        return f"{vae.class_name if vae else 'a pipeline without VAE'} cannot slice a batch"
    if context.workload.batch_size == 1:
        return "a batch of 1 has nothing to slice: give --batch-size"
    return None


def vae_slicing_effect(build: Build, choice: str) -> str | None:
    return None if build.pipe.vae.use_slicing else "the VAE does not slice"


@knob(
    Stage.VAE,
    choices=(Choice("off"), Choice("on", need=batched, tier=Tier.LOSSLESS)),
    effect=vae_slicing_effect,
    run_on=("cpu",),
    parts=DECODE,
)
def vae_slicing(build: Build, choice: str) -> None:
    """The images of a batch decoded one by one: less memory for the decode."""
    build.pipe.vae.enable_slicing()
