"""How far an output is from the reference."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tuner.records.figures import IDENTICAL_DB

SSIM_SIGMA_PX = 1.5
"""The Gaussian window of Wang et al. (2004), so that figures compare with those of others."""

SSIM_RADIUS_PX = 5
"""Of a window of 11 by 11 pixels, as Wang et al. (2004) have it."""

SSIM_SMALLEST_PX = 2 * SSIM_RADIUS_PX + 1
"""In a smaller image there is no place for the window: it has no SSIM."""


@contextmanager
def noise_in_float32(pipe: Any) -> Iterator[None]:
    """Have the pipeline and its scheduler draw in fp32 and cast: all dtypes see the same noise.

    A generator may give other numbers when it is asked for another dtype: with torch 2.13 it does
    in float64, and nothing promises that it does not elsewhere.
    """
    import functools
    import sys

    import torch
    from diffusers.utils.torch_utils import randn_tensor

    @functools.wraps(randn_tensor)
    def drawn(
        shape: Any, generator: Any = None, device: Any = None, dtype: Any = None, layout: Any = None
    ) -> Any:
        return randn_tensor(shape, generator, device, torch.float32, layout).to(
            dtype or torch.float32
        )

    parts = (pipe, getattr(pipe, "scheduler", None))
    names = {kind.__module__ for part in parts for kind in type(part).__mro__}
    modules: list[Any] = [sys.modules.get(name) for name in names]
    drawing = [module for module in modules if hasattr(module, "randn_tensor")]
    for module in drawing:
        module.randn_tensor = drawn
    try:
        yield
    finally:
        for module in drawing:
            module.randn_tensor = randn_tensor


def images_of(output: Any) -> Any:
    """The images or frames of an output as one float array (…, height, width, channel)."""
    import numpy

    images = output[0] if isinstance(output, tuple) else next(iter(output.values()))
    return numpy.asarray(images, dtype=numpy.float32)


def invalid(images: Any, latents: Any | None = None) -> str | None:
    """Why these images are no result, or the latents that they were decoded from; or None."""
    import numpy

    if not numpy.isfinite(images).all():
        return "the output holds NaN or infinity"
    if latents is not None and not numpy.isfinite(latents).all():
        return "the latents hold NaN or infinity"
    if any(frame.std(axis=(0, 1)).max() < 1e-3 for frame in frames(images)):
        return "the output is one constant colour"
    return None


def psnr_db(images: Any, reference: Any) -> float:
    """Peak signal-to-noise ratio over [0, 1] of the worst image or frame, in dB; 200 when equal."""
    import numpy

    worst_error = max(
        float(numpy.square(image - other, dtype=numpy.float64).mean())
        for image, other in zip(frames(images), frames(reference), strict=True)
    )
    return IDENTICAL_DB if worst_error == 0 else min(IDENTICAL_DB, -10 * math.log10(worst_error))


def ssim(images: Any, reference: Any) -> float:
    """Structural similarity (Wang et al. 2004) of the worst image or frame; 1 when equal.

    Of each colour for itself, so that swapped colours are seen.
    """
    pairs = zip(frames(images), frames(reference), strict=True)
    return min(_ssim_of_frame(image, other) for image, other in pairs)


def _ssim_of_frame(image: Any, other: Any) -> float:
    from scipy.ndimage import gaussian_filter

    def mean(values: Any) -> Any:
        # The window of 11 by 11 pixels; where it would reach over the edge nothing is counted.
        smooth = gaussian_filter(values, SSIM_SIGMA_PX, truncate=3.5, axes=(0, 1))
        return smooth[SSIM_RADIUS_PX:-SSIM_RADIUS_PX, SSIM_RADIUS_PX:-SSIM_RADIUS_PX]

    c1, c2 = 0.01**2, 0.03**2
    x, y = mean(image), mean(other)
    variances = mean(image * image) - x * x + mean(other * other) - y * y
    covariance = mean(image * other) - x * y
    fidelity = (2 * x * y + c1) * (2 * covariance + c2)
    fidelity /= (x * x + y * y + c1) * (variances + c2)
    return float(fidelity.mean())


def latent_error(latents: Any, reference: Any) -> float | None:
    """How far the worst image's latents are from the reference's, as a share of these (L2).

    Of latents that are all zero nothing is a share: None.
    """
    import numpy

    lengths = [float(numpy.linalg.norm(other)) for other in reference]
    if not all(lengths):
        return None
    errors = [float(numpy.linalg.norm(a - b)) for a, b in zip(latents, reference, strict=True)]
    return max(error / length for error, length in zip(errors, lengths, strict=True))


def frames(images: Any) -> Any:
    """Every image, or every frame of every video, as one series."""
    return images.reshape(-1, *images.shape[-3:])
