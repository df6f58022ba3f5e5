from __future__ import annotations

import math

import numpy
import pytest
import torch
from diffusers import EulerAncestralDiscreteScheduler

from tuner.measuring.fidelity.compare import (
    InvalidOutput,
    another_image,
    fidelity,
    valid_output,
)
from tuner.measuring.fidelity.metrics import (
    invalid,
    latent_error,
    noise_in_float32,
    psnr_db,
    ssim,
)
from tuner.measuring.fidelity.outputs import Output
from tuner.records.figures import IDENTICAL_DB


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
    assert ssim(images, images.copy()) == pytest.approx(1.0)


def test_psnr_is_that_of_the_worst_image(images):
    changed = images.copy()
    changed[0] += 0.001
    changed[1] += 0.1
    assert psnr_db(changed, images) == pytest.approx(20.0, abs=0.01)


def ssim_by_definition(image, other):
    """As Wang et al. define it, window by window."""
    offsets = numpy.arange(11) - 5
    line = numpy.exp(-(offsets**2) / (2 * 1.5**2))
    window = numpy.outer(line, line) / line.sum() ** 2
    height_px, width_px, colours = image.shape
    found = []
    for top, left, colour in numpy.ndindex(height_px - 10, width_px - 10, colours):
        x = image[top : top + 11, left : left + 11, colour]
        y = other[top : top + 11, left : left + 11, colour]
        x_mean, y_mean = (window * x).sum(), (window * y).sum()
        x_spread, y_spread = (window * (x - x_mean) ** 2).sum(), (window * (y - y_mean) ** 2).sum()
        both = (window * (x - x_mean) * (y - y_mean)).sum()
        alike = (2 * x_mean * y_mean + 1e-4) * (2 * both + 9e-4)
        found.append(alike / ((x_mean**2 + y_mean**2 + 1e-4) * (x_spread + y_spread + 9e-4)))
    return numpy.mean(found)


def test_ssim_is_what_its_definition_says(images):
    noise = numpy.random.default_rng(1).normal(0, 0.1, images.shape).astype(numpy.float32)
    blurred = (images + numpy.roll(images, 1, axis=1)) / 2
    for changed in (images + noise, blurred, images * 0.5, 1 - images):
        expected = min(map(ssim_by_definition, changed.astype(float), images.astype(float)))
        assert ssim(changed, images) == pytest.approx(expected, abs=1e-5)


def test_ssim_of_two_flat_greys_has_a_closed_form():
    dark, light = numpy.full((1, 16, 16, 3), 0.2), numpy.full((1, 16, 16, 3), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert ssim(dark, light) == pytest.approx(expected)


def test_ssim_is_that_of_the_worst_frame(images):
    video = numpy.stack([images, images])
    broken = video.copy()
    broken[1, 0] = 1 - broken[1, 0]
    assert ssim(broken, video) == pytest.approx(ssim(broken[1, :1], video[1, :1]))


@pytest.mark.parametrize("height_px", [1, 8, 10, 11, 30, 31, 64])
@pytest.mark.parametrize("width_px", [8, 64])
def test_what_an_image_is_too_small_for_is_left_out(height_px, width_px, lpips_folder):
    draw = numpy.random.default_rng(0)
    pair = [
        Output(draw.random((1, height_px, width_px, 3), numpy.float32), draw.random((1, 4, 1, 1)))
        for _ in range(2)
    ]
    metrics = fidelity(*pair, lpips_folder)
    side_px = min(height_px, width_px)
    assert metrics.keys() - {"psnr_db", "latent_error"} == {
        name for name, smallest_px in (("ssim", 11), ("lpips", 31)) if side_px >= smallest_px
    }
    assert all(math.isfinite(value) for value in metrics.values())
    assert another_image(metrics)


def test_latents_of_nothing_have_no_error(images):
    nothing = numpy.zeros((2, 4, 2, 2), numpy.float32)
    assert latent_error(nothing + 1, nothing) is None
    assert "latent_error" not in fidelity(Output(images, nothing), Output(images, nothing))


@pytest.mark.parametrize("value", [numpy.nan, numpy.inf])
def test_latents_that_are_no_numbers_are_invalid(images, value):
    with pytest.raises(InvalidOutput, match="the latents hold NaN or infinity"):
        valid_output(Output(images, numpy.full((2, 4, 2, 2), value)), None, 0)


def test_an_error_of_latents_is_a_share_of_their_length():
    latents = numpy.array([[3.0, 4.0]])
    assert latent_error(latents * 1.01, latents) == pytest.approx(0.01)
    assert latent_error(latents, latents) == 0.0
    several = numpy.repeat(latents, 10, axis=0)
    one_off = several.copy()
    one_off[3] *= 1.1
    assert latent_error(one_off, several) == pytest.approx(0.1)


class Drawing:
    """As much of a pipeline as draws: a scheduler that may draw at each step."""

    def __init__(self, scheduler):
        self.scheduler = scheduler

    def run(self, dtype):
        self.scheduler.set_timesteps(4)
        latents = torch.ones(1, 4, 8, 8, dtype=dtype)
        generator = torch.Generator("cpu").manual_seed(0)
        for step in self.scheduler.timesteps:
            model_input = self.scheduler.scale_model_input(latents, step)
            latents = self.scheduler.step(0.1 * model_input, step, latents, generator=generator)[0]
        return latents.float().numpy()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_what_a_scheduler_draws_at_each_step_is_the_same_in_every_dtype():
    pipe = Drawing(EulerAncestralDiscreteScheduler())
    exact = pipe.run(torch.float32)
    # Other draws make two images that have nothing to do with each other.
    assert latent_error(pipe.run(torch.float64), exact) > 0.5
    with noise_in_float32(pipe):
        assert numpy.array_equal(pipe.run(torch.float32), exact)
        assert latent_error(pipe.run(torch.float64), exact) < 1e-5
        assert latent_error(pipe.run(torch.bfloat16), exact) < 0.05
    assert latent_error(pipe.run(torch.float64), exact) > 0.5
