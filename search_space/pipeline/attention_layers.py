"""What the attention layers of a model can do, read from the classes of their processors."""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache
from typing import Any

DENOISER_WORDS = {"timestep", "encoder_hidden_states"}
"""Keywords by which the call of a denoiser is told from that of a text encoder."""

MASK_WORDS = ("attention", "encoder", "embedding")
"""Words in the names of attention masks; a pipeline has masks of other kinds too."""


@cache
def source_of(code: Any) -> str:
    """The source of a class, a function or a module.

    Python reads and parses a whole file for each class that it is asked for.
    """
    return inspect.getsource(code)


def attention_layers(model: Any) -> list[Any]:
    """The layers with an attention processor; not every model names them in ``attn_processors``."""
    return [part for part in model.modules() if getattr(part, "processor", None) is not None]


def head_size(layer: Any) -> int:
    """The width of one head, 0 where the layer does not say."""
    width_of_head = getattr(layer, "head_dim", None) or getattr(layer, "dim_heads", None)
    heads = getattr(layer, "heads", None) or getattr(layer, "num_heads", None)
    width = getattr(getattr(layer, "to_q", None), "out_features", 0)
    return int(width_of_head or (width // heads if heads else 0))


def dispatches(layer: Any) -> bool:
    """Whether the layer chooses its backend through the dispatcher of diffusers."""
    return hasattr(layer.processor, "_attention_backend")


def calls_sdpa(layer: Any) -> bool:
    """Whether the layer calls ``scaled_dot_product_attention`` itself."""
    kind: Any = type(layer.processor)
    text = source_of(kind)
    return not dispatches(layer) and "scaled_dot_product_attention(" in text


def uses_fused_weights(layer: Any) -> bool:
    """Whether the layer's processor, or a function beside it that it calls, reads fused weights."""
    kind: Any = type(layer.processor)
    text = source_of(kind)
    module = vars(sys.modules[kind.__module__])
    functions = {name: value for name, value in module.items() if inspect.isfunction(value)}
    callees = [function for name, function in functions.items() if f"{name}(" in text]
    return "to_qkv" in text or any("fused" in source_of(callee) for callee in callees)


def fuses_projections(model: Any) -> bool:
    """Whether ``fuse_qkv_projections`` changes how the model computes, and not what.

    The method of ``AttentionMixin`` leaves the processors as they are, and most do not read the
    fused weights. A model's own method sets one fused processor for all layers.
    """
    from diffusers.models.attention import AttentionMixin

    layers = attention_layers(model)
    method = getattr(type(model), "fuse_qkv_projections", None)
    if method is None or method is AttentionMixin.fuse_qkv_projections:
        return method is not None and any(map(uses_fused_weights, layers))
    return all(map(_has_fused_equal, layers))


def _has_fused_equal(layer: Any) -> bool:
    """Whether there is a fused form of the layer's processor which leaves nothing out.

    That of SD3 leaves out the norms of query and key, which SD3.5 has.
    """
    from diffusers.models import attention_processor

    fused = getattr(attention_processor, f"Fused{type(layer.processor).__name__}", None)
    if fused is None:
        return False
    return getattr(layer, "norm_q", None) is None or "norm_q" in source_of(fused)


@cache
def passes_masks(pipeline_source: str) -> bool:
    """Whether the pipeline calls its denoiser with an attention mask."""
    calls = [node for node in ast.walk(ast.parse(pipeline_source)) if isinstance(node, ast.Call)]
    named = [{keyword.arg or "" for keyword in call.keywords} for call in calls]
    return any(names & DENOISER_WORDS and any(map(_is_mask, names)) for names in named)


def _is_mask(name: str) -> bool:
    return "mask" in name and any(word in name for word in MASK_WORDS)
