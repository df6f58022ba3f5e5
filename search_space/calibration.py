"""A model's own inputs, for static quantization: the denoiser's are kept from the baseline."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from search_space.build import Build, Example
from search_space.graph import Graph, graph_key, graph_of

MOST_CALLS = 16
"""More calls than these bring a quantizer nothing; of a longer schedule every n-th is kept."""


def calibration_file(build: Build, first: tuple[Any, Any]) -> Path:
    """Where the inputs of this model, called like this, lie."""
    example = Example(*first, output=None)
    key = graph_key(graph_of(build.entries("engine")[0], example))
    call = sorted((name, repr(value)) for name, value in build.call.items())
    digest = hashlib.blake2b(repr((key, call)).encode(), digest_size=16)
    return build.cache_dir / "calibration" / f"{digest.hexdigest()}.safetensors"


def keep_calibration(build: Build, kept: list[tuple[Any, Any]]) -> Path:
    """Write the tensors of the denoiser's calls, whole or not at all."""
    from safetensors.torch import save_file

    entry = build.entries("engine")[0]
    stride = -(-len(kept) // MOST_CALLS)
    tensors = {
        f"{number}.{place}": tensor.detach().cpu().contiguous().clone()
        for number, call in enumerate(kept[::stride])
        for place, tensor in enumerate(graph_of(entry, Example(*call, output=None)).tensors)
    }
    path = calibration_file(build, kept[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    save_file(tensors, unfinished)
    os.replace(unfinished, path)
    return path


def calibration_calls(build: Build, graph: Graph) -> list[list[Any]]:
    """The input tensors of each call that the pipeline makes of a denoiser or a decoder."""
    return calibration(build) if graph.entry.attribute == "forward" else decoder_calls(build, graph)


def decoder_calls(build: Build, graph: Graph) -> list[list[Any]]:
    """What the pipeline, with the engine that its denoiser has by now, hands to its decoder."""
    build.enter("calibrate")
    kept: list[list[Any]] = []
    decode = graph.entry.function

    def keep(*args: Any, **kwargs: Any) -> Any:
        kept.append(list(graph_of(graph.entry, Example(args, kwargs, output=None)).tensors))
        return decode(*args, **kwargs)

    restore = graph.entry.replace(keep)
    try:
        build.pipe(**build.call)
    finally:
        restore()
    return kept


def calibration(build: Build) -> list[list[Any]]:
    """The input tensors of each call, in order; the pipeline is run if they were not kept."""
    from safetensors.torch import load_file

    name = build.entries("engine")[0].name
    example = build.record()[name]
    path = calibration_file(build, (example.args, example.kwargs))
    if not path.exists():
        build.enter("calibrate")
        kept: list[tuple[Any, Any]] = []
        with build.inputs_kept(kept):
            build.pipe(**build.call)
        path = keep_calibration(build, kept)
    tensors = load_file(path)
    count = 1 + max(int(key.partition(".")[0]) for key in tensors)
    places = len(tensors) // count
    return [[tensors[f"{call}.{place}"] for place in range(places)] for call in range(count)]
