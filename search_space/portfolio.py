"""Configs that have done well elsewhere, tried first."""

from __future__ import annotations

from collections.abc import Mapping

from search_space.build import PARTS
from search_space.config import Config
from search_space.space import Space

OPENVINO = {"vae_engine": "openvino", "text_encoder_engine": "openvino"}
OPENVINO_BF16 = {"vae_engine": "openvino-bf16", "text_encoder_engine": "openvino-bf16"}
COMPILED = {"vae_engine": "compile", "engine": "compile-default", "inductor": "freezing"}
HALF = {"precision": "bf16", "memory_format": "channels_last"}

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
        {"precision": "fp16", "memory_format": "channels_last"},
        {"precision": "bf16", "memory_format": "channels_last", "engine": "compile-regional"},
        {"precision": "fp16", "memory_format": "channels_last", "engine": "compile-max-autotune"},
        {"precision": "fp16", "attention": "xformers"},
        {"precision": "fp16", "attention_slicing": "auto", "vae_tiling": "on"},
        {
            "precision": "fp16",
            "memory_format": "channels_last",
            "engine": "compile-regional",
            "cache": "deepcache-3",
        },
        {"precision": "bf16", "engine": "compile-default", "cache": "first-block-0.1"},
    ),
}
"""In the order in which they are tried. Those for cuda were put together by reading."""

SPARING: tuple[dict[str, str], ...] = (
    {"placement": "model-offload"},
    {"attention_slicing": "max"},
    {"placement": "sequential-offload"},
)
"""What needs less memory than the baseline, in its precision and with its image. Where the baseline
ran out of memory these come first: the first that fits is what others are compared with."""

ANYWHERE = ({"precision": "bf16"}, {"precision": "fp16"})


def portfolio(space: Space) -> list[Config]:
    """The known-good configs, each with the pins applied and without what the space rules out.

    One that loses its engine, cache or dtype so, or whose dtype the device only emulates, is left
    out.
    """
    seeds: list[Config] = []
    for good in KNOWN_GOOD.get(space.context.machine.device, ANYWHERE):
        available = {name: value for name, value in good.items() if value in space.choices[name]}
        seed = Config({**available, **space.fix})
        if seed and seed not in seeds and _promising(good, available, space) and space.holds(seed):
            seeds.append(seed)
    return seeds


def sparing(space: Space) -> list[Config]:
    """The sparing configs that the space holds, with the pins applied."""
    seeds = [Config({**config, **space.fix}) for config in SPARING if _possible(config, space)]
    return [seed for seed in seeds if space.holds(seed)]


def _possible(config: Mapping[str, str], space: Space) -> bool:
    return all(value in space.choices[name] for name, value in config.items())


def _promising(good: Mapping[str, str], available: Mapping[str, str], space: Space) -> bool:
    lost = good.keys() - available.keys() - space.fix.keys()
    native = ("fp32", *space.context.machine.native_dtypes)
    return (
        not lost & {"precision", "cache", *PARTS} and available.get("precision", "fp32") in native
    )
