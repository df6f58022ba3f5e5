"""A model's own inputs, for static quantization: kept from the baseline's first call."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from search_space.build import Build, Entry, Example
from search_space.runtimes.graph import Graph, graph_key, graph_of

MOST_CALLS = 16
"""Of a longer schedule every n-th call counts, so that the ranges are those from noise to image.
More calls would make them surer, and each costs disk and a run of the model."""

KeptCalls = Sequence[tuple[Any, Any]]
"""The arguments of each call of a model, by place and by name."""


def call_key(build: Build) -> str:
    """What the inputs of the models depend on beside the pipeline: the arguments of its call."""
    call = sorted((name, repr(value)) for name, value in build.call.items())
    return hashlib.blake2b(repr(call).encode(), digest_size=8).hexdigest()


def calibration_file(build: Build, graph: Graph) -> Path:
    """Where the inputs of a model in this pipeline call lie."""
    name = f"{graph_key(graph)}-{call_key(build)}.safetensors"
    return build.cache_dir / "calibration" / name


def keep_calibration(build: Build, calls_by_model: Mapping[str, KeptCalls]) -> None:
    """Write the inputs of each model that was called, by its name."""
    entries = [entry for part in ("engine", "vae_engine") for entry in build.entries(part)]
    for entry in entries:
        if calls := calls_by_model.get(entry.name):
            keep_calls(build, entry, calls)


def keep_calls(build: Build, entry: Entry, calls: KeptCalls) -> Path:
    """Write the tensors of a model's calls, whole or not at all."""
    from safetensors.torch import save_file

    graphs = [graph_of(entry, Example(*call, output=None)) for call in calls]
    stride = -(-len(calls) // MOST_CALLS)
    tensors = {
        f"{number}.{place}": tensor.detach().cpu().contiguous().clone()
        for number, graph in enumerate(graphs[::stride])
        for place, tensor in enumerate(graph.tensors)
    }
    path = calibration_file(build, graphs[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    save_file(tensors, unfinished)
    os.replace(unfinished, path)
    return path


def calibration_calls(build: Build, graph: Graph) -> list[list[Any]]:
    """The input tensors of each call that the pipeline makes of a denoiser or a decoder, in order.

    Where none were kept the pipeline is run, with the engines that its other models have by now,
    from a noise that is always the same.
    """
    import torch
    from safetensors.torch import load_file

    path = calibration_file(build, graph)
    if not path.exists():
        build.enter("calibrate")
        calls_by_model: dict[str, list[tuple[Any, Any]]] = {}
        part = "engine" if graph.entry.attribute == "forward" else "vae_engine"
        with build.recorded_inputs(calls_by_model, (part,)):
            build.pipe(**build.call, generator=torch.Generator("cpu").manual_seed(0))
        path = keep_calls(build, graph.entry, calls_by_model[graph.entry.name])
    tensors = load_file(path)
    count = 1 + max(int(key.partition(".")[0]) for key in tensors)
    places = len(tensors) // count
    return [[tensors[f"{call}.{place}"] for place in range(places)] for call in range(count)]
