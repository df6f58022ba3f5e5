"""Stable Diffusion 3, small."""

from __future__ import annotations

from tuner.reference import text, vae
from tuner.reference.recipe import Part, Recipe

# The two CLIP encoders side by side are as wide as T5, as in stable-diffusion-3-medium.
_POOLED = 2 * text.CLIP_TINY["hidden_size"]
_HEADS, _HEAD_WIDTH = 4, 64  # published: 24 heads of 64

_TRANSFORMER = {
    "sample_size": 16,
    "patch_size": 2,
    "in_channels": 16,
    "num_layers": 4,
    "attention_head_dim": _HEAD_WIDTH,
    "num_attention_heads": _HEADS,
    "joint_attention_dim": text.T5_TINY_WIDTH,
    "caption_projection_dim": _HEADS * _HEAD_WIDTH,
    "pooled_projection_dim": _POOLED,
    "out_channels": 16,
    "pos_embed_max_size": 32,
}

# The published config of the VAE and the scheduler of stable-diffusion-3-medium.
_VAE = {**vae.SIXTEEN, "scaling_factor": 1.5305, "shift_factor": 0.0609}
_SCHEDULER = Part("diffusers", "FlowMatchEulerDiscreteScheduler", {"shift": 3.0})

_VOCABULARY = text.CLIP_TINY_VOCABULARY

SD3_TINY = Recipe(
    "StableDiffusion3Pipeline",
    {
        "text_encoder": text.clip(text.CLIP_TINY, _VOCABULARY, projected=True),
        "text_encoder_2": text.clip(text.CLIP_TINY, _VOCABULARY, "gelu", projected=True),
        "text_encoder_3": text.t5_tiny(),
        "tokenizer": text.clip_tokenizer(_VOCABULARY),
        "tokenizer_2": text.clip_tokenizer(_VOCABULARY, pad_token="!"),
        "tokenizer_3": text.t5_tokenizer(),
        "transformer": Part("diffusers", "SD3Transformer2DModel", _TRANSFORMER),
        "vae": vae.autoencoder(vae.TINY, 128, **_VAE),
        "scheduler": _SCHEDULER,
    },
    {"height_px": 128, "width_px": 128, "steps": 4},
)
