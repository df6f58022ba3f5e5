"""Configs that have done well elsewhere, tried first."""

from __future__ import annotations

from search_space.space import Space, changes

KNOWN_GOOD: dict[str, tuple[dict[str, str], ...]] = {
    "cpu": (
        {"precision": "bf16", "memory_format": "channels_last"},
        {"precision": "bf16", "memory_format": "channels_last", "engine": "compile-default"},
        {"engine": "onnxruntime"},
        {"precision": "bf16", "engine": "compile-default"},
        {"precision": "fp16"},
        {"engine": "compile-regional"},
    ),
    "cuda": (
        {"precision": "fp16", "memory_format": "channels_last"},
        {"precision": "bf16", "memory_format": "channels_last", "engine": "compile-regional"},
        {"precision": "fp16", "memory_format": "channels_last", "engine": "compile-max-autotune"},
        {"precision": "fp16", "attention": "xformers"},
        {"precision": "fp16", "attention_slicing": "auto", "vae_tiling": "on"},
    ),
}
ANYWHERE = ({"precision": "bf16"}, {"precision": "fp16"})


def portfolio(space: Space) -> list[dict[str, str]]:
    """The known-good configs, each with the pins applied and without what the space rules out."""
    device = space.context.machine.device
    seeds: list[dict[str, str]] = []
    for known in KNOWN_GOOD.get(device, ANYWHERE):
        seed = {name: value for name, value in known.items() if value in space.choices[name]}
        seed = changes({**seed, **space.fix})
        if seed not in seeds and space.holds(seed):
            seeds.append(seed)
    return seeds
