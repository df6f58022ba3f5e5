"""LPIPS (Zhang et al. 2018), a learned distance between images, from weights that the user has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from search_space.errors import UsageError
from tuner.measuring.fidelity.metrics import frames

BACKBONE = "alexnet-owt-7be5be79.pth"
"""AlexNet, trained on ImageNet, as torchvision has it."""

HEADS = "alex.pth"
"""How much each channel counts: version 0.1, as the package lpips has it."""

# Of AlexNet's features, by their place.
CONVOLUTIONS = {
    0: {"stride": 4, "padding": 2},
    3: {"padding": 2},
    6: {"padding": 1},
    8: {"padding": 1},
    10: {"padding": 1},
}

POOLED = (3, 6)
"""The convolutions with a pooling before them."""

LPIPS_SMALLEST_PX = 31
"""Of a smaller image AlexNet's poolings leave nothing: it has no LPIPS."""

MEAN, SCALE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the images that AlexNet was trained on, in [0, 1]."""


@cache
def read(folder: str) -> Mapping[str, Any]:
    """The weights of AlexNet's features and of the heads; raises UsageError."""
    backbone, heads = _tensors(Path(folder) / BACKBONE), _tensors(Path(folder) / HEADS)
    names = [f"features.{place}.{part}" for place in CONVOLUTIONS for part in ("weight", "bias")]
    layers = [f"lin{number}.model.1.weight" for number in range(len(CONVOLUTIONS))]
    try:
        return {name: backbone[name] for name in names} | {name: heads[name] for name in layers}
    except KeyError as error:
        raise UsageError(
            f"the files in {folder} are not those of LPIPS, {error} is missing: "
            "docs/measuring/fidelity.md says where they are"
        ) from error


def _tensors(path: Path) -> Mapping[str, Any]:
    import torch

    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError as error:
        raise UsageError(
            f"LPIPS needs {path}, which is not there: docs/measuring/fidelity.md says where it is"
        ) from error
    except Exception as error:
        # Whatever a file holds that is not weights, torch and pickle say so in many ways.
        raise UsageError(f"{path} holds no weights: download it again") from error


def lpips(images: Any, reference: Any, folder: str) -> float:
    """The distance of the worst image or frame (…, height, width, 3) over [0, 1]; 0 when equal."""
    pairs = zip(frames(images), frames(reference), strict=True)
    return max(distance(image, other, read(folder)) for image, other in pairs)


def distance(image: Any, other: Any, weights: Mapping[str, Any]) -> float:
    """LPIPS of two images (height, width, 3) over [0, 1]."""
    import torch

    with torch.inference_mode():
        total = torch.zeros(())
        layers = zip(features(image, weights), features(other, weights), strict=True)
        for number, (layer, other_layer) in enumerate(layers):
            difference = (unit(layer) - unit(other_layer)).square()
            weighted = torch.nn.functional.conv2d(
                difference, weights[f"lin{number}.model.1.weight"]
            )
            total = total + weighted.mean()
    return float(total)


def features(image: Any, weights: Mapping[str, Any]) -> Iterator[Any]:
    """What each convolution of AlexNet sees in an image (height, width, 3): (1, channel, y, x)."""
    import torch
    from torch.nn.functional import conv2d, max_pool2d, relu

    signal = (torch.tensor(image) - torch.tensor(MEAN)) / torch.tensor(SCALE)
    signal = signal.permute(2, 0, 1)[None].contiguous()
    for place, options in CONVOLUTIONS.items():
        if place in POOLED:
            signal = max_pool2d(signal, 3, stride=2)
        kernel, bias = weights[f"features.{place}.weight"], weights[f"features.{place}.bias"]
        signal = relu(conv2d(signal, kernel, bias, **options))
        yield signal


def unit(layer: Any) -> Any:
    """The channels of each place, scaled to the length 1."""
    return layer / (layer.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)
