"""LPIPS by weights of the published shapes, beside what the package lpips makes of the same."""

from __future__ import annotations

import numpy
import pytest
import torch

from search_space.errors import UsageError
from search_space.fidelity import measured_tier
from search_space.knob import Tier
from tuner.measuring.fidelity.lpips import BACKBONE, HEADS, lpips, read


def pair(height_px, width_px, noise):
    """A picture of waves, and the same with noise."""
    y, x = numpy.mgrid[:height_px, :width_px] / 64.0
    waves = numpy.stack([numpy.sin(3 * x), numpy.sin(5 * y), numpy.sin(4 * (x + y))], axis=-1)
    image = (0.5 + 0.4 * waves).astype(numpy.float32)
    other = image + numpy.random.default_rng(1).normal(0, noise, image.shape)
    return image, other.clip(0, 1).astype(numpy.float32)


@pytest.mark.parametrize(
    ("height_px", "width_px", "noise", "expected"),
    [(64, 64, 0.02, 0.01384804), (96, 160, 0.1, 0.23661183), (512, 512, 0.3, 1.0286037)],
)
def test_the_distance_is_that_of_the_package(lpips_folder, height_px, width_px, noise, expected):
    # The package lpips 0.1.4 said so, with torchvision 0.29.1 and these weights.
    image, other = pair(height_px, width_px, noise)
    assert lpips(other[None], image[None], lpips_folder) == pytest.approx(expected, rel=1e-4)


def test_equal_images_are_at_no_distance(lpips_folder):
    image, _ = pair(64, 64, 0.0)
    assert lpips(image[None], image[None], lpips_folder) == 0.0


def test_the_worst_frame_counts(lpips_folder):
    near, far = pair(64, 64, 0.02), pair(64, 64, 0.3)
    video, other = numpy.stack([near, far, near])[None].swapaxes(0, 2).swapaxes(1, 2)
    alone = lpips(far[1][None], far[0][None], lpips_folder)
    assert lpips(other, video, lpips_folder) == pytest.approx(alone)


def test_files_that_are_not_there_are_named(tmp_path):
    with pytest.raises(UsageError, match=BACKBONE):
        read(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
def test_files_that_are_no_weights_are_named(tmp_path, content):
    for name in (BACKBONE, HEADS):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match="holds no weights"):
        read(str(tmp_path))


def test_weights_of_something_else_are_told(tmp_path):
    for name in (BACKBONE, HEADS):
        torch.save({"weight": torch.zeros(1)}, tmp_path / name)
    with pytest.raises(UsageError, match=r"features\.0\.weight' is missing"):
        read(str(tmp_path))


@pytest.mark.parametrize(
    ("found", "tier"),
    [
        ({"lpips": 0.04}, Tier.LOSSLESS),
        ({"lpips": 0.09}, Tier.NEAR),
        ({"lpips": 0.2}, Tier.LOSSY),
        ({"lpips": 0.3}, None),
        ({"lpips": 0.3, "floor_lpips": 0.08}, Tier.LOSSLESS),
        ({}, Tier.LOSSLESS),
    ],
)
def test_a_tier_asks_for_it_where_it_was_measured(found, tier):
    assert measured_tier({"psnr_db": 40.0, "ssim": 0.99, "latent_error": 0.01, **found}) is tier
