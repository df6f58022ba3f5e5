"""Graphs on Intel Gaudi: compiled from eager code, or captured from lazy code."""

from __future__ import annotations

from dataclasses import replace

from search_space.build import Build
from search_space.knob import Choice, Tier, more_choices
from search_space.knobs.engine_compile import torch_compile_effect
from search_space.needs import device
from search_space.shapes import Shapes

GAUDI = replace(device("hpu", what="a graph of Gaudi"), packages=("habana-torch-plugin",))
LAZY = {"hpu-compile": "0", "hpu-graphs": "1"}


def execution_mode(choice: str) -> dict[str, str]:
    """Eager or lazy: the bridge to Gaudi reads it when it is imported."""
    return {"PT_HPU_LAZY_MODE": LAZY[choice]}


def habana_effect(build: Build, choice: str) -> str | None:
    """Dynamo must have captured graphs, or each denoiser must have a cache of captured ones."""
    if choice == "hpu-compile":
        return torch_compile_effect(build, choice)
    for name, denoiser in build.denoisers().items():
        if "clear_cache" not in vars(denoiser):
            return f"{name} is not wrapped in an HPU graph"
    return None


@more_choices(
    "engine",
    choices=tuple(
        Choice(
            choice,
            need=GAUDI,
            tier=Tier.LOSSLESS,
            environment=execution_mode,
        )
        for choice in LAZY
    ),
    effect=habana_effect,
    shapes=Shapes.RECOMPILED,
)
def habana(build: Build, choice: str) -> None:
    """The denoiser as graphs of Gaudi: by torch.compile, or captured in the first calls."""
    for denoiser in build.denoisers().values():
        if choice == "hpu-compile":
            denoiser.compile(backend="hpu_backend")
        else:
            from habana_frameworks.torch.hpu import wrap_in_hpu_graph

            wrap_in_hpu_graph(denoiser, disable_tensor_cache=True)
