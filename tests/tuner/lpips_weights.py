"""Weights in the shapes of those by which LPIPS is measured."""

from __future__ import annotations

import numpy
import torch

KERNELS = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
"""Channels out, channels in and pixels of AlexNet's convolutions."""


def random_weights():
    """The tensors of both files, with random values in the order of magnitude of trained ones."""
    draw = numpy.random.default_rng(0)
    backbone, heads = {"classifier.6.bias": torch.zeros(1000)}, {}
    for number, (place, (made, seen, side)) in enumerate(KERNELS.items()):
        scale = (seen * side * side) ** -0.5
        kernel = draw.normal(0, scale, (made, seen, side, side)).astype(numpy.float32)
        bias = draw.normal(0, 0.1, made).astype(numpy.float32)
        head = draw.uniform(0, 2, (1, made, 1, 1)).astype(numpy.float32)
        backbone[f"features.{place}.weight"] = torch.from_numpy(kernel)
        backbone[f"features.{place}.bias"] = torch.from_numpy(bias)
        heads[f"lin{number}.model.1.weight"] = torch.from_numpy(head)
    return backbone, heads
