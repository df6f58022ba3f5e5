"""Stable Diffusion 1.5, at full size and small."""

from __future__ import annotations

from typing import Any

from tuner.reference import text, vae
from tuner.reference.recipe import Part, Recipe

# The published scheduler of stable-diffusion-v1-5.
_PNDM = Part(
    "diffusers",
    "PNDMScheduler",
    {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
    },
)


def _parts(
    unet: dict[str, Any], autoencoder: Part, size: dict[str, int], vocabulary: int
) -> dict[str, Part]:
    return {
        "text_encoder": text.clip(size, vocabulary),
        "tokenizer": text.clip_tokenizer(vocabulary),
        "unet": Part("diffusers", "UNet2DConditionModel", unet),
        "vae": autoencoder,
        "scheduler": _PNDM,
    }


_OPTIONS = {
    "safety_checker": None,
    "feature_extractor": None,
    "requires_safety_checker": False,
}

# The published config of stable-diffusion-v1-5; the defaults of the class are its blocks.
_UNET = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,  # the number of heads, whatever the name says
}
SD15 = Recipe(
    "StableDiffusionPipeline",
    _parts(_UNET, vae.autoencoder(vae.FULL, 512), text.CLIP_L, text.CLIP_VOCABULARY),
    {"height_px": 512, "width_px": 512, "steps": 20},
    _OPTIONS,
)

_TINY_UNET = {
    "sample_size": 16,
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "block_out_channels": (128, 128, 128),
    "layers_per_block": 2,
    "cross_attention_dim": text.CLIP_TINY["hidden_size"],
    "attention_head_dim": 4,
}
SD15_TINY = Recipe(
    "StableDiffusionPipeline",
    _parts(
        _TINY_UNET,
        vae.autoencoder(vae.TINY, 128),
        text.CLIP_TINY,
        text.CLIP_TINY_VOCABULARY,
    ),
    {"height_px": 128, "width_px": 128, "steps": 4},
    _OPTIONS,
)
