"""Ways in which a machine is unlike the family that a prior is made from."""

from __future__ import annotations

from collections.abc import Callable

from tests.benchmarks.search.effects import Effect

Effects = dict[str, Effect]
Change = Callable[[str, Effect], "Effect | None"]
"""The effect of a choice on such a machine; None where it stays typical."""


def _all_parts(effect: Effect, factor: float, why: str) -> Effect:
    """The factor in the place of the effect, in those parts on which the choice acts."""
    parts = (factor if part != 1 else 1.0 for part in effect[:3])
    return Effect(*parts, why)


def narrow_is_slow(name: str, effect: Effect) -> Effect | None:
    narrow = name.endswith(("=bf16", "=fp16", "-bf16", "=tf32")) and not name.startswith("cache")
    return _all_parts(effect, 1.3, "narrow types are emulated: fp32 is fastest") if narrow else None


def compiling_is_useless(name: str, effect: Effect) -> Effect | None:
    compiles = "=compile" in name or name.startswith("inductor=")
    return _all_parts(effect, 1.06, "the compiler falls back to eager") if compiles else None


def runtimes_are_slow(name: str, effect: Effect) -> Effect | None:
    runtime = any(part in name for part in ("openvino", "onnxruntime"))
    return (
        _all_parts(effect, 1.5, "the runtime has no kernels for this machine") if runtime else None
    )


def offloading_is_free(name: str, effect: Effect) -> Effect | None:
    moves = name.startswith("placement=")
    return _all_parts(effect, 1.02, "host and device share their memory") if moves else None


def plain_attention_wins(name: str, effect: Effect) -> Effect | None:
    plain = name in ("attention=plain", "attention=sdpa-math", "attention=native-math")
    return (
        _all_parts(effect, 0.6, "the fused operator is not made for this machine")
        if plain
        else None
    )


def quantized_is_fast(name: str, effect: Effect) -> Effect | None:
    quantized = name.startswith("quantization=")
    return _all_parts(effect, 0.4, "int8 units are all that is fast") if quantized else None


UNLIKE: dict[str, Change] = {
    "narrow types are slow": narrow_is_slow,
    "compiling is useless": compiling_is_useless,
    "runtimes are slow": runtimes_are_slow,
    "offloading is free": offloading_is_free,
    "plain attention wins": plain_attention_wins,
    "quantized is fast": quantized_is_fast,
}
CRASHING = "a backend crashes"
"""Every choice of one family of engines crashes: see ``tests.benchmarks.search.hidden``."""

KINDS = (*UNLIKE, CRASHING)


def changed(effects: Effects, kinds: tuple[str, ...]) -> Effects:
    """The effects of a machine that is unlike the others in these ways."""
    for kind in kinds:
        change = UNLIKE.get(kind)
        if change:
            effects = {name: change(name, effect) or effect for name, effect in effects.items()}
    return effects
