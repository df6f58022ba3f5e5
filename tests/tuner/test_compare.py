"""Corruption of every kind is put into real output and found, with a sentence that names it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy
import pytest
import torch

from search_space.build import Build
from search_space.construct import construct
from search_space.knob import Tier
from search_space.likeness import measured_tier
from search_space.workload import Workload
from tuner.compare import InvalidOutput, checked, compared, fidelity_of, keys_reversed
from tuner.outputs import Made, Reference, latents_kept, made, shown
from tuner.worker import Job

FLOOR = {"floor_psnr_db": 120.0, "floor_ssim": 1.0}
CALL = {"height_px": 64, "width_px": 64, "steps": 2}


@pytest.fixture(scope="module")
def trial(reference_folder, tmp_path_factory):
    """Runs a trial's comparison on a real pipeline, of which something may have been broken."""
    builds = {}

    def run(family, reference=None, output=None, broken=None, can_win=True, **facts):
        workload = Workload(family, num_frames={"wan-tiny": 5}.get(family), **CALL)
        if family not in builds:
            call = {**workload.call(), "output_type": "np"}
            cache = tmp_path_factory.mktemp("cache")
            build = builds[family] = Build(str(reference_folder(family)), "cpu", call, cache)
            construct(build, {}).set_progress_bar_config(disable=True)
        build = builds[family]
        job = Job(workload, build.model, "cpu", {}, "", reference, output, **facts)
        (entry,) = build.entries("vae_engine")
        restore = entry.replace(broken(entry.function) if broken else entry.function)
        try:
            from tuner.compare import again

            return fidelity_of(build, job, again(build, job), can_win)
        finally:
            restore()

    return run


@pytest.fixture(scope="module")
def references(trial, tmp_path_factory):
    """The file of what the untouched pipeline makes of both prompts."""
    paths = {}
    for family in ("sd15-tiny", "wan-tiny"):
        paths[family] = str(tmp_path_factory.mktemp("made") / f"{family}.npz")
        trial(family, output=paths[family])
    return paths


@pytest.fixture(scope="module")
def made_of(references):
    """What the untouched pipelines made: an image and a video, each of two prompts."""
    return {family: Reference.read(path) for family, path in references.items()}


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
    outputs[number] = Made(images, outputs[number].latents)
    with pytest.raises(InvalidOutput) as caught:
        compared(
            [checked(output, reference, place) for place, output in enumerate(outputs)], reference
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
    reference = Reference((Made(faint),), FLOOR)
    sentence = found_in(reference, 0, faint[..., ::-1, :])
    assert sentence.startswith("the image is another one: its SSIM to the reference is 0.")


def test_rounding_alone_is_no_corruption(made_of):
    for reference in made_of.values():
        rounded = [
            Made(output.images.astype(numpy.float16).astype(numpy.float32), output.latents)
            for output in reference.outputs
        ]
        found = compared(rounded, reference)
        assert measured_tier(found) is Tier.EXACT
        assert found["prompts"] == 2


def test_the_worst_of_the_prompts_counts(made_of):
    reference = made_of["sd15-tiny"]
    first, second = reference.outputs
    off = Made(second.images + 0.03, second.latents * 1.1)
    found = compared([first, off], reference)
    assert found["psnr_db"] == pytest.approx(30.46, abs=0.01)
    assert found["latent_error"] == pytest.approx(0.1, abs=1e-5)


def test_a_batch_is_compared_by_the_images_that_the_baseline_made(made_of):
    reference = made_of["sd15-tiny"]
    (images, latents) = reference.outputs[0].images, reference.outputs[0].latents
    larger = Made(numpy.concatenate([images, images]), numpy.concatenate([latents, latents]))
    assert checked(larger, reference, 0).images.shape == images.shape
    assert checked(larger, reference, 0).latents.shape == latents.shape


# From here on through a real pipeline.


@pytest.mark.parametrize("family", ["sd15-tiny", "wan-tiny"])
def test_the_reference_holds_both_prompts_their_latents_and_a_floor(family, made_of):
    reference = made_of[family]
    first, second = reference.outputs
    assert first.images.shape == second.images.shape
    assert not numpy.array_equal(first.images, second.images)
    assert first.latents.shape == second.latents.shape
    # Another order of summing moves fp32 by rounding: it is seen, and it is small.
    assert 80 < reference.floor["floor_psnr_db"] < 200
    assert reference.floor["floor_ssim"] > 0.999


def test_the_same_again_is_exact(trial, references):
    found = trial("sd15-tiny", reference=references["sd15-tiny"])
    assert found["latent_error"] == 0.0
    assert found["psnr_db"] == 200.0
    assert found["prompts"] == 2
    assert found["floor_psnr_db"] > 80


def test_what_cannot_win_is_compared_by_one_prompt(trial, references):
    assert trial("sd15-tiny", reference=references["sd15-tiny"], can_win=False)["prompts"] == 1


def test_what_is_broken_for_other_prompts_alone_is_found(trial, references):
    def broken(decode):
        calls = []

        def decoded(*args, **kwargs):
            calls.append(1)
            found = decode(*args, **kwargs)
            return found if len(calls) == 1 else tuple(part * torch.nan for part in found)

        return decoded

    with pytest.raises(InvalidOutput, match="with another prompt the output holds NaN"):
        trial("sd15-tiny", reference=references["sd15-tiny"], broken=broken)


def test_one_bad_frame_of_a_decoded_video_is_found(trial, references):
    def broken(decode):
        def decoded(*args, **kwargs):
            (video,) = decode(*args, **kwargs)
            video[:, :, 2] = video[:, :, 2].flip(1)
            return (video,)

        return decoded

    with pytest.raises(InvalidOutput, match="another one"):
        trial("wan-tiny", reference=references["wan-tiny"], broken=broken)


def test_lpips_is_measured_where_its_weights_are(trial, references, lpips_folder, tmp_path):
    def noisy(decode):
        def decoded(*args, **kwargs):
            (images,) = decode(*args, **kwargs)
            return (images + 0.05 * torch.sin(torch.arange(images.shape[-1])),)

        return decoded

    known = {"reference": references["sd15-tiny"], "lpips": lpips_folder}
    floor = trial("sd15-tiny", output=str(tmp_path / "made.npz"), lpips=lpips_folder)
    assert 0 <= floor["floor_lpips"] < 1e-6
    assert trial("sd15-tiny", **known)["lpips"] == 0.0
    assert trial("sd15-tiny", broken=noisy, **known)["lpips"] > 1e-3
    assert "lpips" not in trial("sd15-tiny", reference=references["sd15-tiny"])


def test_pictures_are_kept_in_eight_bits(trial, references, tmp_path):
    path = tmp_path / "kept" / "pictures.npz"
    trial("sd15-tiny", reference=references["sd15-tiny"], pictures=str(path))
    with numpy.load(path) as file:
        assert sorted(file) == ["0", "1"]
        expected = Reference.read(references["sd15-tiny"]).outputs[1].images
        assert numpy.array_equal(file["1"], shown(expected))
    assert [kept.name for kept in path.parent.iterdir()] == ["pictures.npz"]


def test_of_a_video_three_frames_are_shown():
    video = numpy.linspace(0, 1, 9, dtype=numpy.float32)[None, :, None, None, None]
    frames = shown(numpy.broadcast_to(video, (2, 9, 4, 4, 3)))
    assert frames[:, 0, 0, 0].tolist() == [0, 128, 255]


def test_latents_of_a_decoder_that_is_called_in_parts_are_put_together():
    vae = SimpleNamespace(decode=lambda latents: latents)
    build = Build("", "cpu", {}, None, pipe=SimpleNamespace(vae=vae))
    with latents_kept(build) as kept:
        for part in torch.arange(8.0, dtype=torch.bfloat16).reshape(2, 1, 4):
            vae.decode(part)
    assert made((numpy.zeros((2, 8, 8, 3)),), kept).latents.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert not hasattr(vae.decode, "__wrapped__")


@pytest.mark.parametrize("mask", [None, "pairs", "keys"])
def test_attention_with_its_keys_reversed_is_the_same_attention(mask):
    query, key, value = torch.randn(3, 1, 2, 7, 4).unbind()
    masks = {"pairs": torch.rand(1, 1, 7, 7) > 0.3, "keys": torch.rand(1, 1, 1, 7) > 0.3}
    attention = torch.nn.functional.scaled_dot_product_attention
    expected = attention(query, key, value, masks.get(mask))
    with keys_reversed():
        found = torch.nn.functional.scaled_dot_product_attention(
            query=query, key=key, value=value, attn_mask=masks.get(mask)
        )
        causal = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, None, 0.0, True
        )
    torch.testing.assert_close(found, expected)
    assert torch.equal(causal, attention(query, key, value, is_causal=True))
    assert torch.nn.functional.scaled_dot_product_attention is attention
