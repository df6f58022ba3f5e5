"""Wan 2.1, small."""

from __future__ import annotations

from tuner.reference import text
from tuner.reference.recipe import Part, Recipe

_TRANSFORMER = {
    "num_attention_heads": 4,
    "attention_head_dim": 64,
    "text_dim": text.T5_TINY_WIDTH,
    "freq_dim": 256,
    "ffn_dim": 1024,
    "num_layers": 4,
}

# The VAE as published, but for its width: eight times in space, four times in time.
_VAE = {"base_dim": 32, "dim_mult": [1, 1, 2, 2]}

# The published scheduler of Wan2.1-T2V-1.3B.
_SCHEDULER = Part(
    "diffusers",
    "UniPCMultistepScheduler",
    {
        "prediction_type": "flow_prediction",
        "use_flow_sigmas": True,
        "flow_shift": 3.0,
        "timestep_spacing": "linspace",
    },
)

WAN_TINY = Recipe(
    "WanPipeline",
    {
        "text_encoder": text.t5_tiny("UMT5EncoderModel"),
        "tokenizer": text.t5_tokenizer(),
        "transformer": Part("diffusers", "WanTransformer3DModel", _TRANSFORMER),
        "vae": Part("diffusers", "AutoencoderKLWan", _VAE),
        "scheduler": _SCHEDULER,
    },
    {"height_px": 64, "width_px": 64, "num_frames": 9, "steps": 4},
)
