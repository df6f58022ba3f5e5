"""VAE tiling: a large image decoded in overlapping tiles."""

from __future__ import annotations

from typing import Any

from search_space.build import Build
from search_space.knob import DECODE, Choice, Context, Stage, Tier, knob
from search_space.needs import need
from search_space.pipeline.sizes import tiled_decode_name


# Up to the size of one tile the VAE decodes the image whole, whatever was asked.
@need("an image larger than one tile of the VAE")
def larger_than_a_tile(context: Context) -> str | None:
    vae, workload, defaults = context.spec.vae, context.workload, context.spec.defaults
    if vae is None or not vae.tiles:
        return f"{vae.class_name if vae else 'a pipeline without VAE'} cannot decode in tiles"
    sizes = (
        workload.height_px or defaults.get("height_px"),
        workload.width_px or defaults.get("width_px"),
    )
    largest_px = max((size for size in sizes if size), default=None)
    if largest_px and vae.tile_px and largest_px <= vae.tile_px:
        return f"an image of {largest_px} px is not larger than one tile of {vae.tile_px} px"
    return None


def vae_tiling_effect(build: Build, choice: str) -> str | None:
    """An image must have been decoded in tiles: a VAE that is told to tile may decode it whole."""
    if not build.pipe.vae.use_tiling:
        return "the VAE does not tile"
    return None if build.evidence.get("decoded_in_tiles") else "the VAE decoded the image whole"


def note_tiles(build: Build, vae: Any) -> None:
    """Have the VAE leave a note when it decodes in tiles."""
    name = tiled_decode_name(vae)
    if name is None:
        return
    tiled_decode = getattr(vae, name)

    def tiled(*args: Any, **kwargs: Any) -> Any:
        build.evidence["decoded_in_tiles"] = True
        return tiled_decode(*args, **kwargs)

    setattr(vae, name, tiled)


@knob(
    Stage.VAE,
    choices=(Choice("off"), Choice("on", need=larger_than_a_tile, tier=Tier.NEAR)),
    effect=vae_tiling_effect,
    run_on=("cpu",),
    parts=DECODE,
)
def vae_tiling(build: Build, choice: str) -> None:
    """A large image decoded in overlapping tiles: far less memory, seams are blended."""
    build.pipe.vae.enable_tiling()
    note_tiles(build, build.pipe.vae)
