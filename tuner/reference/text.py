"""The text encoders that several families share, and their tokenizers."""

from __future__ import annotations

from tuner.reference.recipe import Part

# The text encoders of the published stable-diffusion-v1-5 and stable-diffusion-xl-base-1.0.
CLIP_L = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
CLIP_BIG_G = {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 20}
CLIP_TINY = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}

CLIP_VOCABULARY = 49408
CLIP_TINY_VOCABULARY = 576
_T5_TINY_VOCABULARY = 128
T5_TINY_WIDTH = 128


def clip(
    size: dict[str, int], vocab_size: int, activation: str = "quick_gelu", projected: bool = False
) -> Part:
    """A CLIP text encoder; ``projected`` adds the projection that SDXL, SD3 condition on."""
    config = size | {
        "vocab_size": vocab_size,
        "intermediate_size": 4 * size["hidden_size"],
        "projection_dim": size["hidden_size"],
        "hidden_act": activation,
        "max_position_embeddings": 77,
        "bos_token_id": 0,
        "eos_token_id": 2,  # as published: pools at the highest id
        "pad_token_id": 1,
    }
    return Part(
        "transformers", "CLIPTextModelWithProjection" if projected else "CLIPTextModel", config
    )


def clip_tokenizer(vocab_size: int, pad_token: str = "<|endoftext|>") -> Part:
    """The tokenizer of a CLIP text encoder; the second one of SDXL pads with ``!``."""
    config = {"vocab_size": vocab_size, "pad_token": pad_token, "model_max_length": 77}
    return Part("transformers", "CLIPTokenizer", config)


def t5_tiny(class_name: str = "T5EncoderModel") -> Part:
    """T5 1.1 or UMT5 with the gated activation and head width of the published encoders."""
    config = {
        "vocab_size": _T5_TINY_VOCABULARY,
        "d_model": T5_TINY_WIDTH,
        "d_kv": 64,
        "d_ff": 2 * T5_TINY_WIDTH,
        "num_layers": 2,
        "num_heads": 2,
        "feed_forward_proj": "gated-gelu",
        "is_encoder_decoder": False,
        "use_cache": False,
    }
    return Part("transformers", class_name, config)


def t5_tokenizer() -> Part:
    """The tokenizer of a T5 or UMT5 text encoder."""
    return Part("transformers", "T5Tokenizer", {"model_max_length": 512})
