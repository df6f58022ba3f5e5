"""The output of a call, as it is kept for comparison and for the contact sheet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_space.build import Build
from search_space.fidelity import Fidelity

MOST_PICTURES = 3
"""Of a video its first, middle and last frame. Each more costs disk in every trial and
makes the contact sheet longer."""


@dataclass(frozen=True)
class Output:
    """The output of one call: images or videos, and the latents that the VAE decoded."""

    images: Any
    latents: Any | None = None


@dataclass(frozen=True)
class Reference:
    """The outputs that others are compared with, one a prompt, and their noise floor."""

    outputs: tuple[Output, ...]
    floor: Fidelity

    @classmethod
    def read(cls, path: Path) -> Reference:
        """The inverse of ``write``."""
        import numpy

        with numpy.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        count = sum(name.startswith("images_") for name in arrays)
        outputs = tuple(
            Output(arrays[f"images_{number}"], arrays.get(f"latents_{number}"))
            for number in range(count)
        )
        floor = {name: float(arrays[name]) for name in arrays if name.startswith("floor_")}
        return cls(outputs, floor)

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        arrays = dict(self.floor)
        for number, output in enumerate(self.outputs):
            arrays[f"images_{number}"] = output.images
            if output.latents is not None:
                arrays[f"latents_{number}"] = output.latents
        write_arrays(path, arrays)


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays by name, whole or not at all."""
    import numpy

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    with unfinished.open("wb") as file:
        numpy.savez_compressed(file, **arrays)
    os.replace(unfinished, path)


@contextmanager
def recorded_latents(build: Build) -> Iterator[list[Any]]:
    """Add the latents that the VAE decodes to a list while this lasts."""
    latents: list[Any] = []
    restores = [
        entry.replace(_keeping(entry.function, latents)) for entry in build.entries("vae_engine")
    ]
    try:
        yield latents
    finally:
        for restore in restores:
            restore()


def _keeping(decode: Callable[..., Any], latents: list[Any]) -> Callable[..., Any]:
    import functools

    # Its name and signature alone: what a compiler hangs on a function stays where it is.
    @functools.wraps(decode, updated=())
    def kept_and_decoded(*args: Any, **kwargs: Any) -> Any:
        latents.append(args[0] if args else next(iter(kwargs.values())))
        return decode(*args, **kwargs)

    return kept_and_decoded


def output_of(output: Any, latents: list[Any]) -> Output:
    """The output of a call and its latents, as arrays."""
    import torch

    from tuner.measuring.fidelity.metrics import images_of

    parts = [part.detach().float().cpu() for part in latents]
    return Output(images_of(output), torch.cat(parts).numpy() if parts else None)


def pictures(outputs: list[Output]) -> dict[str, Any]:
    """The first images of each prompt, of a video its first, middle and last frame, in 8 bits."""
    return {str(number): to_pictures(output.images) for number, output in enumerate(outputs)}


def to_pictures(images: Any) -> Any:
    """At most three images of a batch, or the first, middle and last frame of its first video."""
    import numpy

    if images.ndim == 5:
        frames = images[0]
        images = frames[sorted({0, len(frames) // 2, len(frames) - 1})]
    return numpy.round(images[:MOST_PICTURES] * 255).clip(0, 255).astype(numpy.uint8)
