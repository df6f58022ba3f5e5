"""Flux, small."""

from __future__ import annotations

from tuner.reference import text, vae
from tuner.reference.recipe import Part, Recipe

_TRANSFORMER = {
    "in_channels": 64,
    "num_layers": 2,  # published: 19
    "num_single_layers": 2,  # published: 38
    "attention_head_dim": 64,  # published: 128
    "num_attention_heads": 4,  # published: 24
    "joint_attention_dim": text.T5_TINY_WIDTH,
    "pooled_projection_dim": text.CLIP_TINY["hidden_size"],
    "guidance_embeds": True,
    "axes_dims_rope": (8, 28, 28),
}

# The published config of the VAE and the scheduler of FLUX.1-dev.
_VAE = {**vae.SIXTEEN, "scaling_factor": 0.3611, "shift_factor": 0.1159}
_SCHEDULER = Part(
    "diffusers",
    "FlowMatchEulerDiscreteScheduler",
    {
        "shift": 3.0,
        "use_dynamic_shifting": True,
        "base_image_seq_len": 256,
        "max_image_seq_len": 4096,
        "base_shift": 0.5,
        "max_shift": 1.15,
    },
)

FLUX_TINY = Recipe(
    "FluxPipeline",
    {
        "text_encoder": text.clip(text.CLIP_TINY, text.CLIP_TINY_VOCABULARY),
        "text_encoder_2": text.t5_tiny(),
        "tokenizer": text.clip_tokenizer(text.CLIP_TINY_VOCABULARY),
        "tokenizer_2": text.t5_tokenizer(),
        "transformer": Part("diffusers", "FluxTransformer2DModel", _TRANSFORMER),
        "vae": vae.autoencoder(vae.TINY, 128, **_VAE),
        "scheduler": _SCHEDULER,
    },
    {"height_px": 128, "width_px": 128, "steps": 4},
)
