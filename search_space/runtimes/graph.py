"""A model's call as a graph for another runtime: tensors in, tensors out."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_space.build import Build, Entry, Example

Run = Callable[[Sequence[Any]], Sequence[Any]]
"""Maps the input tensors of a graph to its output tensors, in order."""


@dataclass(frozen=True)
class Graph:
    """One call of a model with its tensors told apart from its constants.

    ``inputs`` and ``outputs`` are the flattened leaves, ``input_tree`` and ``output_tree`` what
    they came from.
    """

    entry: Entry
    inputs: list[Any]
    input_tree: Any
    outputs: list[Any]
    output_tree: Any

    @property
    def positions(self) -> list[int]:
        return tensor_positions(self.inputs)

    @property
    def tensors(self) -> tuple[Any, ...]:
        return tuple(self.inputs[position] for position in self.positions)

    @property
    def output_count(self) -> int:
        return len(tensor_positions(self.outputs))


def tensor_positions(leaves: Sequence[Any]) -> list[int]:
    import torch

    return [place for place, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]


def without_generators(arguments: Any) -> Any:
    """The arguments with None for a generator or a list of them: a graph draws no numbers.

    A pipeline hands on to its VAE what it was called with, be it one, one an image, or none.
    """
    import torch
    from torch.utils import _pytree as pytree

    def drawn_from(part: Any) -> bool:
        parts = part if isinstance(part, (list, tuple)) else [part]
        return bool(parts) and all(isinstance(each, torch.Generator) for each in parts)

    return pytree.tree_map(
        lambda leaf: None if drawn_from(leaf) else leaf, arguments, is_leaf=drawn_from
    )


def graph_of(entry: Entry, example: Example) -> Graph:
    from torch.utils import _pytree as pytree

    inputs, input_tree = pytree.tree_flatten(without_generators((example.args, example.kwargs)))
    outputs, output_tree = pytree.tree_flatten(example.output)
    return Graph(entry, inputs, input_tree, outputs, output_tree)


def graphs(build: Build, part: str) -> list[Graph]:
    """The graphs of the models that ``part`` (``engine``, ``vae_engine`` …) is about."""
    examples = build.record()
    called = [entry for entry in build.entries(part) if entry.name in examples]
    return [graph_of(entry, examples[entry.name]) for entry in called]


def traceable(graph: Graph) -> Any:
    """A torch module that takes the input tensors one by one and gives a tuple of tensors."""
    import torch
    from torch.utils import _pytree as pytree

    function, positions = graph.entry.function, graph.positions
    constants = list(graph.inputs)

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = graph.entry.owner

        def forward(self, *tensors: Any) -> Any:
            leaves = list(constants)
            for position, tensor in zip(positions, tensors, strict=True):
                leaves[position] = tensor
            args, kwargs = pytree.tree_unflatten(leaves, graph.input_tree)
            outputs = pytree.tree_flatten(function(*args, **kwargs))[0]
            return tuple(leaf for leaf in outputs if isinstance(leaf, torch.Tensor))

    return Flat().eval()


def graph_key(graph: Graph, *versions: str) -> str:
    """What an exported graph depends on: model, a sample of each weight, inputs and versions."""

    model = graph.entry.owner
    config = model.config if hasattr(model.config, "items") else model.config.to_dict()
    processors = sorted({type(p).__name__ for p in getattr(model, "attn_processors", {}).values()})
    facts = [type(model).__name__, graph.entry.attribute, dict(config), versions, processors]
    digest = hashlib.blake2b(
        json.dumps(facts, sort_keys=True, default=str).encode(), digest_size=16
    )
    for name, weight in model.state_dict().items():
        flat = weight.detach().reshape(-1)
        sample = flat[:: max(1, flat.numel() // 64)].double().cpu().numpy().tobytes()
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode() + sample)
    for leaf in graph.inputs:
        digest.update(repr(sketch(leaf)).encode())
    return digest.hexdigest()


def keep_whole(folder: Path, fill: Callable[[Path], object]) -> None:
    """Have a folder of the cache filled; it appears whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        fill(unfinished)
        if not folder.exists():
            os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def sketch(leaf: Any) -> Any:
    """Shape and dtype of a tensor, anything else as it is."""
    import torch

    return (tuple(leaf.shape), leaf.dtype) if isinstance(leaf, torch.Tensor) else leaf


def release_weights(entry: Entry) -> None:
    """Give back the memory of weights that nothing reads any more; dtype and device stay known.

    Of a VAE only the decoder's: the application may want to encode.
    """
    import torch

    decoder = [getattr(entry.owner, name, None) for name in ("decoder", "post_quant_conv")]
    modules = decoder if entry.attribute == "decode" else [entry.owner]
    for module in filter(None, modules):
        for weight in (*module.parameters(), *module.buffers()):
            weight.data = torch.empty(0, dtype=weight.dtype, device=weight.device)


def answer_by(graph: Graph, run: Run) -> None:
    """Have the pipeline call the runtime where it called the model."""
    import torch
    from torch.utils import _pytree as pytree

    positions = graph.positions
    shapes = [sketch(leaf) for leaf in graph.inputs]
    answers = tensor_positions(graph.outputs)
    dtypes = [graph.outputs[place].dtype for place in answers]

    def call(*args: Any, **kwargs: Any) -> Any:
        leaves, tree = pytree.tree_flatten(without_generators((args, kwargs)))
        wrong = [i for i in positions if i >= len(leaves) or sketch(leaves[i]) != shapes[i]]
        if tree != graph.input_tree or wrong:
            actual = [sketch(leaves[i])[0] for i in wrong if isinstance(leaves[i], torch.Tensor)]
            raise ValueError(
                f"{graph.entry.name} was exported for inputs of shape "
                f"{[shapes[i][0] for i in wrong]} and got {actual}: call it with the "
                "size, batch and guidance it was tuned for, or tune for the new ones"
            )
        filled = list(graph.outputs)
        outputs = run([leaves[position].contiguous() for position in positions])
        for place, dtype, tensor in zip(answers, dtypes, outputs, strict=True):
            filled[place] = tensor.to(dtype)
        return pytree.tree_unflatten(filled, graph.output_tree)

    graph.entry.replace(call)
