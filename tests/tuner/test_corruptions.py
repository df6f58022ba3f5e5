"""Corruption of every kind is put into real output and found, with a sentence that names it."""

from __future__ import annotations

import numpy
import pytest

from tuner.measuring.fidelity.compare import InvalidOutput, valid_output, worst_fidelity
from tuner.measuring.fidelity.outputs import Output, Reference

FLOOR = {"floor_psnr_db": 120.0, "floor_ssim": 1.0}


def nan(images):
    images[0, ..., 5, 5, 1] = numpy.nan


def black(images):
    images[:] = 0.0


def one_colour(images):
    images[:] = (0.2, 0.5, 0.7)
    images += numpy.linspace(0, 1e-6, images.shape[-2])[:, None]


def noise(images):
    images[:] = numpy.random.default_rng(0).random(images.shape)


def swapped_colours(images):
    images[:] = images[..., ::-1].copy()


def shifted(images):
    images[:] = numpy.roll(images, 4, axis=-2)


def half_black(images):
    images[..., : images.shape[-3] // 2, :, :] = 0.0


def upside_down(images):
    images[:] = images[..., ::-1, :, :].copy()


def faded(images):
    images[:] = 0.4 * images + 0.3


CORRUPTIONS = {
    nan: "the output holds NaN or infinity",
    black: "the output is one constant colour",
    one_colour: "the output is one constant colour",
    noise: "the image is another one: its PSNR to the reference is",
    swapped_colours: "the image is another one: its PSNR to the reference is",
    shifted: "the image is another one: its PSNR to the reference is",
    half_black: "the image is another one: its PSNR to the reference is",
    upside_down: "the image is another one: its PSNR to the reference is",
    faded: "the image is another one: its PSNR to the reference is",
}


every_corruption = pytest.mark.parametrize(
    ("corrupt", "sentence"), CORRUPTIONS.items(), ids=lambda value: getattr(value, "__name__", "")
)


def found_in(reference, number, images):
    outputs = list(reference.outputs)
    outputs[number] = Output(images, outputs[number].latents)
    with pytest.raises(InvalidOutput) as caught:
        worst_fidelity(
            [valid_output(output, reference, place) for place, output in enumerate(outputs)],
            reference,
        )
    return str(caught.value)


@every_corruption
def test_a_corrupted_image_is_found(made_of, corrupt, sentence):
    images = made_of["sd15-tiny"].outputs[0].images.copy()
    corrupt(images)
    assert found_in(made_of["sd15-tiny"], 0, images).startswith(sentence)


@every_corruption
def test_a_corrupted_image_of_the_other_prompt_is_found(made_of, corrupt, sentence):
    images = made_of["sd15-tiny"].outputs[1].images.copy()
    corrupt(images)
    found = found_in(made_of["sd15-tiny"], 1, images)
    assert found.startswith(f"with another prompt {sentence}")


@every_corruption
def test_one_corrupted_frame_of_a_video_is_found(made_of, corrupt, sentence):
    video = made_of["wan-tiny"].outputs[0].images.copy()
    corrupt(video[:, 3])
    assert found_in(made_of["wan-tiny"], 0, video).startswith(sentence)


def test_a_frame_in_the_place_of_another_is_found(made_of):
    video = made_of["wan-tiny"].outputs[0].images.copy()
    video[:, [1, 3]] = video[:, [3, 1]]
    assert "another one" in found_in(made_of["wan-tiny"], 0, video)


def test_another_shape_is_found(made_of):
    reference = made_of["sd15-tiny"]
    smaller = reference.outputs[0].images[:, :-8]
    assert "the output has shape (1, 56, 64, 3), the reference (1, 64, 64, 3)" in found_in(
        reference, 0, smaller
    )


def test_garble_that_is_small_in_size_is_found_by_its_structure():
    # A faint image: whatever is done to it, the error stays small.
    clean = numpy.random.default_rng(0).random((1, 64, 64, 3)).astype(numpy.float32)
    faint = 0.5 + 0.1 * clean
    reference = Reference((Output(faint),), FLOOR)
    sentence = found_in(reference, 0, faint[..., ::-1, :])
    assert sentence.startswith("the image is another one: its SSIM to the reference is 0.")
