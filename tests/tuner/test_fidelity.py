from __future__ import annotations

import numpy
import pytest

from tuner.fidelity import IDENTICAL_DB, invalid, psnr_db


@pytest.fixture
def images():
    return numpy.random.default_rng(0).random((2, 16, 16, 3)).astype(numpy.float32)


def test_a_usable_image_has_no_objection(images):
    assert invalid(images) is None


@pytest.mark.parametrize("value", [numpy.nan, numpy.inf])
def test_one_bad_pixel_is_invalid(images, value):
    images[1, 3, 4, 0] = value
    assert "NaN or infinity" in invalid(images)


def test_one_constant_image_of_a_batch_is_invalid(images):
    images[1] = 0.0
    assert "constant" in invalid(images)


def test_one_constant_frame_of_a_video_is_invalid(images):
    video = numpy.stack([images, images])
    video[1, 0] = 0.5
    assert "constant" in invalid(video)


def test_equal_images_are_identical(images):
    assert psnr_db(images, images.copy()) == IDENTICAL_DB


def test_psnr_is_that_of_the_worst_image(images):
    changed = images.copy()
    changed[0] += 0.001
    changed[1] += 0.1
    assert psnr_db(changed, images) == pytest.approx(20.0, abs=0.01)
