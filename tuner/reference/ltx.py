"""LTX-Video, small."""

from __future__ import annotations

from tuner.reference import text
from tuner.reference.recipe import Part, Recipe

_HEADS, _HEAD_WIDTH = 4, 64  # published: 32 heads of 64

_TRANSFORMER = {
    "num_attention_heads": _HEADS,
    "attention_head_dim": _HEAD_WIDTH,
    "cross_attention_dim": _HEADS * _HEAD_WIDTH,
    "num_layers": 4,
    "caption_channels": text.T5_TINY_WIDTH,
}

# As published but for width and depth: 32 times in space, eight times in time, 128 channels.
_CHANNELS = (32, 64, 64, 64)
_LAYERS = (1, 1, 1, 1, 1)
_VAE = {
    "block_out_channels": _CHANNELS,
    "decoder_block_out_channels": _CHANNELS,
    "layers_per_block": _LAYERS,
    "decoder_layers_per_block": _LAYERS,
}

# The published scheduler of LTX-Video.
_SCHEDULER = Part(
    "diffusers",
    "FlowMatchEulerDiscreteScheduler",
    {
        "use_dynamic_shifting": True,
        "base_image_seq_len": 1024,
        "max_image_seq_len": 4096,
        "base_shift": 0.95,
        "max_shift": 2.05,
        "shift_terminal": 0.1,
    },
)

LTX_TINY = Recipe(
    "LTXPipeline",
    {
        "text_encoder": text.t5_tiny(),
        "tokenizer": text.t5_tokenizer(),
        "transformer": Part("diffusers", "LTXVideoTransformer3DModel", _TRANSFORMER),
        "vae": Part("diffusers", "AutoencoderKLLTXVideo", _VAE),
        "scheduler": _SCHEDULER,
    },
    {"height_px": 256, "width_px": 256, "num_frames": 9, "steps": 4},
)
