"""The hand-written portfolio that this project's first search began with, kept for its rivals."""

from __future__ import annotations

from search_space.build import PARTS
from search_space.config import Config
from search_space.space import Space

OPENVINO = {"vae_engine": "openvino", "text_encoder_engine": "openvino"}
OPENVINO_BF16 = {"vae_engine": "openvino-bf16", "text_encoder_engine": "openvino-bf16"}
COMPILED = {"vae_engine": "compile", "engine": "compile-default", "inductor": "freezing"}
HALF = {"precision": "bf16", "memory_format": "channels_last"}
HALF_16 = {"precision": "fp16", "memory_format": "channels_last"}

KNOWN_GOOD: dict[str, tuple[dict[str, str], ...]] = {
    "cpu": (
        HALF,
        {"engine": "openvino-bf16", **OPENVINO_BF16},
        {"engine": "openvino-int8", **OPENVINO_BF16},
        {"engine": "openvino", **OPENVINO},
        {"engine": "openvino-int8", **OPENVINO},
        {**HALF, **COMPILED},
        COMPILED,
        {**HALF, "allocator": "system-kept"},
        {"engine": "onnxruntime-int8", "vae_engine": "onnxruntime"},
        {"engine": "onnxruntime", "vae_engine": "onnxruntime"},
        {"memory_format": "channels_last"},
        {"precision": "fp16"},
        {**HALF, "cache": "deepcache-3"},
    ),
    "cuda": (
        HALF_16,
        {**HALF, "engine": "compile-regional"},
        {**HALF_16, "engine": "compile-max-autotune"},
        {"precision": "fp16", "attention": "xformers"},
        {"precision": "fp16", "attention_slicing": "auto", "vae_tiling": "on"},
        {**HALF_16, "engine": "compile-regional", "cache": "deepcache-3"},
        {"precision": "bf16", "engine": "compile-default", "cache": "first-block-0.1"},
    ),
}

SPARING: tuple[dict[str, str], ...] = (
    {"placement": "model-offload"},
    {"attention_slicing": "max"},
    {"placement": "sequential-offload"},
)


def portfolio(space: Space) -> list[Config]:
    """The known-good configs, without what the space rules out.

    One that loses its engine, cache or dtype so, or whose dtype is only emulated, is left out.
    """
    machine = space.context.machine
    seeds: list[Config] = []
    for good in KNOWN_GOOD[machine.device]:
        available = {name: value for name, value in good.items() if value in space.choices[name]}
        lost = good.keys() - available.keys()
        native = available.get("precision", "fp32") in ("fp32", *machine.native_dtypes)
        seed = Config(available)
        promising = native and not lost & {"precision", "cache", *PARTS}
        if seed and seed not in seeds and promising and space.holds(seed):
            seeds.append(seed)
    return seeds


def sparing(space: Space) -> list[Config]:
    """The sparing configs that the space holds."""
    return [Config(config) for config in SPARING if space.holds(config)]
