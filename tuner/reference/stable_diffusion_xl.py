"""Stable Diffusion XL, at full size and small."""

from __future__ import annotations

from typing import Any

from tuner.reference import text, vae
from tuner.reference.recipe import Part, Recipe

# The published scheduler of stable-diffusion-xl-base-1.0.
_EULER = Part(
    "diffusers",
    "EulerDiscreteScheduler",
    {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "steps_offset": 1,
        "timestep_spacing": "leading",
    },
)


def _parts(
    unet: dict[str, Any], autoencoder: Part, sizes: tuple[dict[str, int], ...], vocabulary: int
) -> dict[str, Part]:
    return {
        "text_encoder": text.clip(sizes[0], vocabulary),
        "text_encoder_2": text.clip(sizes[1], vocabulary, "gelu", projected=True),
        "tokenizer": text.clip_tokenizer(vocabulary),
        "tokenizer_2": text.clip_tokenizer(vocabulary, pad_token="!"),
        "unet": Part("diffusers", "UNet2DConditionModel", _SHARED | unet),
        "vae": autoencoder,
        "scheduler": _EULER,
    }


# The published config of stable-diffusion-xl-base-1.0, what the small one shares of it.
_SHARED: dict[str, Any] = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 2,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
}

# The published config of stable-diffusion-xl-base-1.0.
_FULL_UNET = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
_VAE = {"scaling_factor": 0.13025, "force_upcast": True}
SDXL = Recipe(
    "StableDiffusionXLPipeline",
    _parts(
        _FULL_UNET,
        vae.autoencoder(vae.FULL, 1024, **_VAE),
        (text.CLIP_L, text.CLIP_BIG_G),
        text.CLIP_VOCABULARY,
    ),
    {"height_px": 1024, "width_px": 1024, "steps": 20},
    dtype="float16",
)

_TINY_UNET = {
    "sample_size": 16,
    "block_out_channels": (96, 128, 128),
    "transformer_layers_per_block": (1, 1, 2),
    "attention_head_dim": 2,
    "cross_attention_dim": 2 * text.CLIP_TINY["hidden_size"],
    "addition_time_embed_dim": 32,
    # The pooled prompt, and six figures of size and crop.
    "projection_class_embeddings_input_dim": text.CLIP_TINY["hidden_size"] + 6 * 32,
}
SDXL_TINY = Recipe(
    "StableDiffusionXLPipeline",
    _parts(
        _TINY_UNET,
        vae.autoencoder(vae.TINY, 128, **_VAE),
        (text.CLIP_TINY, text.CLIP_TINY),
        text.CLIP_TINY_VOCABULARY,
    ),
    {"height_px": 128, "width_px": 128, "steps": 4},
)
