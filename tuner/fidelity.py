"""How far an output is from the reference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

IDENTICAL_DB = 200.0
"""The PSNR given to identical images, for which it has no finite value."""

FLOOR_DB = 20.0
"""Below this the image is another image."""


@contextmanager
def latents_in_float32(pipe: Any) -> Iterator[None]:
    """Have the pipeline draw its latents in fp32 and cast them: every dtype starts from the same.

    A generator gives other numbers when it is asked for another dtype.
    """
    import functools
    import inspect

    import torch

    original = getattr(pipe, "prepare_latents", None)
    if original is None or "dtype" not in inspect.signature(original).parameters:
        yield
        return
    signature = inspect.signature(original)

    @functools.wraps(original)
    def prepare_latents(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        wanted = bound.arguments.get("dtype")
        bound.arguments["dtype"] = torch.float32
        drawn = original(*bound.args, **bound.kwargs)
        if isinstance(drawn, tuple):
            return (drawn[0].to(wanted), *drawn[1:])
        return drawn.to(wanted)

    pipe.prepare_latents = prepare_latents
    try:
        yield
    finally:
        del pipe.prepare_latents


def images_of(output: Any) -> Any:
    """The images or frames of an output as one float array (…, height, width, channel)."""
    import numpy

    found = output[0] if isinstance(output, tuple) else next(iter(output.values()))
    return numpy.asarray(found, dtype=numpy.float32)


def invalid(images: Any) -> str | None:
    """Why no one would call these images a result, or None."""
    import numpy

    if not numpy.isfinite(images).all():
        return "the output holds NaN or infinity"
    spread = images.reshape(-1, *images.shape[-3:]).std(axis=(1, 2, 3))
    if (spread < 1e-3).any():
        return "the output is one constant colour"
    return None


def psnr_db(images: Any, reference: Any) -> float:
    """Peak signal-to-noise ratio over [0, 1] of the worst image or frame, in dB; 200 when equal."""
    import numpy

    difference = (images.astype(numpy.float64) - reference) ** 2
    worst = difference.reshape(-1, *images.shape[-3:]).mean(axis=(1, 2, 3)).max()
    return IDENTICAL_DB if worst == 0 else min(IDENTICAL_DB, float(-10 * numpy.log10(worst)))
