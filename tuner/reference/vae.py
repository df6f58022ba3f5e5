"""The AutoencoderKL that Stable Diffusion, SD3 and Flux share."""

from __future__ import annotations

from typing import Any

from tuner.reference.recipe import Part

# The VAE of the published stable-diffusion-v1-5; every family has the same convolutions.
FULL = (128, 256, 512, 512)
TINY = (32, 64, 64, 64)

# SD3 and Flux: sixteen channels, and no convolution on either side of the latents.
SIXTEEN: dict[str, Any] = {
    "latent_channels": 16,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}


def autoencoder(channels: tuple[int, ...], sample_size: int, **config: Any) -> Part:
    """A VAE that compresses eight times in each direction."""
    return Part(
        "diffusers",
        "AutoencoderKL",
        {
            "block_out_channels": channels,
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "layers_per_block": 2,
            "latent_channels": 4,
            "norm_num_groups": 32,
            "sample_size": sample_size,
            **config,
        },
    )
