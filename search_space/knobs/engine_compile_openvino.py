"""torch.compile of the denoiser with OpenVINO in the place of inductor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from search_space.build import Build
from search_space.knob import Choice, Tier, more_choices
from search_space.knobs.engine_openvino import OWN_PRECISION, runs_on
from search_space.shapes import Shapes


def openvino_backend_effect(build: Build, choice: str) -> str | None:
    """OpenVINO must have compiled in fp32, and left no graph to others.

    Where it fails it hands a graph to inductor, and a part of one to PyTorch, without a word.
    """
    if "left_to_inductor" not in build.evidence:
        return "torch.compile was not told of OpenVINO"
    from openvino.frontend.pytorch.torchdynamo import execute

    if build.evidence["left_to_inductor"]:
        return f"OpenVINO left {len(build.evidence['left_to_inductor'])} graphs to inductor"
    graphs = execute.partitioned_modules.values()
    parts = [part for graph in graphs for part in graph.modules()]
    if any(getattr(part, "perm_fallback", False) for part in parts):
        return "OpenVINO left a part of the denoiser to PyTorch"
    compiled = execute.compiled_cache.values()
    precisions = {model.get_property("INFERENCE_PRECISION_HINT").to_string() for model in compiled}
    return None if precisions == {"f32"} else f"OpenVINO computes in {sorted(precisions)}"


def with_outputs_of_its_own(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its outputs copied: OpenVINO's next call writes over those of the last."""
    import torch
    from torch.utils import _pytree as pytree

    def call(*args: Any, **kwargs: Any) -> Any:
        outputs = function(*args, **kwargs)
        return pytree.tree_map_only(torch.Tensor, torch.clone, outputs)

    return call


@more_choices(
    "engine",
    choices=(Choice("compile-openvino", runs_on("CPU", "FP32"), Tier.LOSSLESS),),
    effect=openvino_backend_effect,
    conflicts=OWN_PRECISION,
    run_on=("cpu",),
    shapes=Shapes.RECOMPILED,
)
def torch_compile_openvino(build: Build, choice: str) -> None:
    """The denoiser compiled by torch.compile, whose graphs are run by OpenVINO."""
    import torch
    from openvino.frontend.pytorch.torchdynamo import backend

    graphs: list[Any] = build.evidence.setdefault("left_to_inductor", [])
    inductor = backend.compile_fx

    def left_to_inductor(graph: Any, inputs: Any) -> Any:
        graphs.append(type(graph).__name__)
        return inductor(graph, inputs)

    backend.compile_fx = left_to_inductor
    options: dict[str, Any] = {
        "device": "CPU",
        # Without it the shape guards of torch 2.13 fail.
        "aot_autograd": True,
        # In bf16 the angles of timesteps would be, too.
        "config": {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"},
    }
    for entry in build.entries("engine"):
        compiled = torch.compile(entry.function, backend="openvino", options=options)
        entry.replace(with_outputs_of_its_own(compiled))
