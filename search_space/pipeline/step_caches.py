"""The step caches of diffusers: which of them a model can hold, and whether they skip anything."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from search_space.build import Build

HOOKS = {
    "first-block": "fbc_block_hook",
    "mag": "mag_cache_block_hook",
    "pyramid": "pyramid_attention_broadcast",
    "taylorseer": "taylorseer_cache",
    "taylorseer-lite": "taylorseer_cache",
}
"""What diffusers calls the hook of each cache."""


def cache_config(kind: str, **settings: Any) -> Any:
    import diffusers
    import torch

    if kind == "first-block":
        return diffusers.FirstBlockCacheConfig(**settings)
    if kind == "mag":
        return diffusers.MagCacheConfig(**settings)
    if kind == "pyramid":
        return diffusers.PyramidAttentionBroadcastConfig(**settings)
    lite = kind == "taylorseer-lite"
    return diffusers.TaylorSeerCacheConfig(
        use_lite_mode=lite, taylor_factors_dtype=torch.float32, **settings
    )


def hooks_of(model: Any, kind: str) -> list[Any]:
    """The hooks of a cache that stand on the parts of a model."""
    registries = [getattr(part, "_diffusers_hook", None) for part in model.modules()]
    present = [registry for registry in registries if registry is not None]
    hooks = [registry.get_hook(HOOKS[kind]) for registry in present]
    return [hook for hook in hooks if hook is not None]


def suitable_caches(model: Any) -> tuple[str, ...]:
    """The caches that find something to hook in a model; each is tried and taken off again.

    Some say nothing where they find nothing.
    """
    from diffusers import CacheMixin

    if not isinstance(model, CacheMixin):
        return ()
    settings: dict[str, dict[str, Any]] = {
        "mag": {"calibrate": True},
        "pyramid": {"spatial_attention_block_skip_range": 2, "current_timestep_callback": int},
    }
    return tuple(kind for kind in HOOKS if _hooks(model, kind, settings.get(kind, {})))


def _hooks(model: Any, kind: str, settings: dict[str, Any]) -> bool:
    try:
        model.enable_cache(cache_config(kind, **settings))
    except Exception:
        # A block of a class that the hooks do not know, or fewer than two blocks.
        return False
    has_hooks = bool(hooks_of(model, kind))
    model.disable_cache()
    return has_hooks


def guides_apart(source: str, call: Mapping[str, Any]) -> bool:
    """Whether the source of a pipeline has guidance call the denoiser a second time.

    Where that is asked for by ``true_cfg_scale``, it takes a negative prompt as well.
    """
    contexts = set(re.findall(r'cache_context\(\s*"?(\w+)', source))
    return bool(contexts - {"cond", "cond_uncond"}) and "true_cfg_scale" not in call


def count_skips(build: Build, skipped: Callable[[Any], bool]) -> None:
    """Have each denoiser tell after each call whether the cache skipped something in it."""
    import torch

    calls: dict[bool, int] = build.evidence.setdefault("calls_by_skipping", {True: 0, False: 0})

    # Outside the graph: what is skipped is decided outside it as well.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def tell(model: Any, args: Any, output: Any) -> None:
        calls[skipped(model)] += 1

    for denoiser in build.denoisers().values():
        denoiser.register_forward_hook(tell)


def nothing_skipped(build: Build) -> str | None:
    """At least one call of the denoiser must have skipped something."""
    calls = build.evidence.get("calls_by_skipping")
    if calls is None:
        return "no cache was switched on"
    return None if calls[True] else f"none of {calls[False]} calls of the denoiser skipped anything"
