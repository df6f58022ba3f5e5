"""Random weights, the same on every machine.

A constructor's own initialization is slow at full size and consumes one random stream, so that its
values depend on the order of construction and on the build of torch.  Here every parameter has its
own stream, seeded by its name, and the only arithmetic is exactly rounded.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

SEED = 0

# Factors on the deviation of the parameters whose trained values are far from the rule.
_FACTORS = {
    # T5 does not divide queries times keys by the root of the width of a head, which is 64 here and
    # in every published size: unless the queries are that much smaller, the softmax saturates.
    "SelfAttention.q.weight": 1 / math.sqrt(64),
    # Flux takes sines of a thousand times the guidance, which bfloat16 rounds by whole radians; a
    # trained model hardly listens to the fast ones.
    "guidance_embedder.linear_1.weight": 0.2,
}


def weightless(construct: Callable[[], Any]) -> Any:
    """What ``construct`` returns, its parameters without memory, its buffers as constructed."""
    import torch
    from accelerate import init_empty_weights

    with torch.random.fork_rng(devices=[]), init_empty_weights(include_buffers=False):
        return construct()


def fill(model: Any, name: str, dtype: torch.dtype) -> None:
    """Give every parameter of a weightless model its values, ready for inference."""
    import torch

    for path, module in model.named_modules():
        for leaf, empty in list(module.named_parameters(recurse=False)):
            values = _values(f"{name}.{path}.{leaf}", tuple(empty.shape)).to(dtype)
            setattr(module, leaf, torch.nn.Parameter(values, requires_grad=False))
    if hasattr(model, "tie_weights"):
        model.tie_weights()
    model.eval()


def _values(path: str, shape: tuple[int, ...]) -> torch.Tensor:
    import torch

    if path.endswith("bias"):
        return torch.zeros(shape)
    # The scale of a normalization: one-dimensional, but for ``gamma`` in the VAE of Wan.
    if len(shape) == 1 or path.endswith("gamma"):
        return torch.ones(shape)
    return _uniform(path, shape, _deviation(path, shape))


def _deviation(path: str, shape: tuple[int, ...]) -> float:
    """Keeps the variance of a layer's input: one over the root of the inputs of an output."""
    factors = (factor for ending, factor in _FACTORS.items() if path.endswith(ending))
    return math.prod(factors) / math.sqrt(math.prod(shape[1:]))


def _uniform(path: str, shape: tuple[int, ...], deviation: float) -> torch.Tensor:
    """Uniform, not normal: one multiplication rounds alike everywhere, a logarithm does not."""
    import numpy
    import torch

    stream = numpy.random.Generator(numpy.random.PCG64([SEED, zlib.crc32(path.encode())]))
    values = stream.random(shape, dtype=numpy.float32)
    values -= numpy.float32(0.5)
    values *= numpy.float32(deviation * math.sqrt(12))
    return torch.from_numpy(values)
