"""The sizes that a pipeline's call accepts and those that it takes by default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def spatial_factor(vae: Any) -> int:
    """Pixels along one side of a latent pixel."""
    if vae is None:
        return 1
    config = vae.config
    factor = getattr(vae, "spatial_compression_ratio", None) or config.get("scale_factor_spatial")
    return int(factor or 2 ** (len(config.get("block_out_channels", [0])) - 1))


def temporal_factor(vae: Any) -> int:
    """Frames in one latent frame."""
    if vae is None:
        return 1
    factor = getattr(vae, "temporal_compression_ratio", None)
    return int(factor or vae.config.get("scale_factor_temporal") or 1)


def tiled_decode_name(vae: Any) -> str | None:
    """The method that decodes in tiles; some VAEs have the switch for it and no such method."""
    names = ("tiled_decode", "_tiled_decode")
    return next((name for name in names if hasattr(vae, name)), None)


def token_side(denoiser: Any, vae: Any) -> int:
    """Latent pixels along one side of a token, counting what the pipeline packs into channels."""
    patch = denoiser.config.get("patch_size") or 1
    side = int(patch if isinstance(patch, int) else patch[-1])
    latent_channels = vae.config.get("latent_channels") if vae is not None else None
    packed = (denoiser.config.get("in_channels") or 0) // (latent_channels or 2**30)
    return side * 2 if packed == 4 else side


def defaults(call: Mapping[str, Any], denoiser: Any, vae: Any) -> dict[str, int]:
    """The sizes and steps that the pipeline takes where its caller names none."""
    names = {"height_px": "height", "width_px": "width", "num_frames": "num_frames"}
    names["steps"] = "num_inference_steps"
    sizes = {name: call[argument].default for name, argument in names.items() if argument in call}
    sample = denoiser.config.get("sample_size")
    side = sample if isinstance(sample, int) else None
    if side:
        for name in ("height_px", "width_px"):
            if name in sizes and sizes[name] is None:
                sizes[name] = side * spatial_factor(vae)
    return {name: value for name, value in sizes.items() if isinstance(value, int)}
