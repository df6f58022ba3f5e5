"""The operators that a denoiser runs, read by the profiler."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from search_space.build import Build


class DenoiserSeen(Exception):
    """Ends a pipeline call once its denoiser has run."""


def denoiser_operators(build: Build) -> set[str]:
    """The operators of the first denoiser call of a pipeline call, which ends there.

    Compiled models run step by step here: their graphs do not name every operator.
    """
    import torch

    operators: set[str] = set()
    restores = [
        entry.replace(operators_added(operators, entry.function))
        for entry in build.entries("engine")
    ]
    try:
        with torch.compiler.set_stance("force_eager"), suppress(DenoiserSeen):
            build.pipe(**build.call)
    finally:
        for restore in restores:
            restore()
    return operators


def operators_added(operators: set[str], function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that calls another under the profiler and then ends the pipeline call."""
    from torch.profiler import ProfilerActivity, profile

    def called(*args: Any, **kwargs: Any) -> Any:
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            function(*args, **kwargs)
        operators.update(event.key for event in profiled.key_averages())
        raise DenoiserSeen

    return called


def sdpa_kernels(operators: Iterable[str]) -> set[str]:
    """Which kernels of ``scaled_dot_product_attention`` are among the operators."""
    prefix = "aten::_scaled_dot_product_"
    names = [name.removeprefix(prefix) for name in operators if name.startswith(prefix)]
    return {name.removeprefix("attention_").partition("_")[0] for name in names}
