"""What a trial has made, compared with what the untouched pipeline makes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy
import pytest
import torch

from search_space.build import Build
from search_space.fidelity import measured_tier
from search_space.knob import Tier
from tuner.measuring.fidelity.compare import (
    InvalidOutput,
    keys_reversed,
    valid_output,
    worst_fidelity,
)
from tuner.measuring.fidelity.outputs import (
    Output,
    Reference,
    output_of,
    recorded_latents,
    to_pictures,
)


def test_rounding_alone_is_no_corruption(made_of):
    for reference in made_of.values():
        rounded = [
            Output(output.images.astype(numpy.float16).astype(numpy.float32), output.latents)
            for output in reference.outputs
        ]
        found = worst_fidelity(rounded, reference)
        assert measured_tier(found) is Tier.EXACT
        assert found["prompts"] == 2


def test_the_worst_of_the_prompts_counts(made_of):
    reference = made_of["sd15-tiny"]
    first, second = reference.outputs
    off = Output(second.images + 0.03, second.latents * 1.1)
    found = worst_fidelity([first, off], reference)
    assert found["psnr_db"] == pytest.approx(30.46, abs=0.01)
    assert found["latent_error"] == pytest.approx(0.1, abs=1e-5)


def test_a_batch_is_compared_by_the_images_that_the_baseline_made(made_of):
    reference = made_of["sd15-tiny"]
    (images, latents) = reference.outputs[0].images, reference.outputs[0].latents
    larger = Output(numpy.concatenate([images, images]), numpy.concatenate([latents, latents]))
    assert valid_output(larger, reference, 0).images.shape == images.shape
    assert valid_output(larger, reference, 0).latents.shape == latents.shape


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
        assert numpy.array_equal(file["1"], to_pictures(expected))
    assert [kept.name for kept in path.parent.iterdir()] == ["pictures.npz"]


def test_of_a_video_three_frames_are_shown():
    video = numpy.linspace(0, 1, 9, dtype=numpy.float32)[None, :, None, None, None]
    frames = to_pictures(numpy.broadcast_to(video, (2, 9, 4, 4, 3)))
    assert frames[:, 0, 0, 0].tolist() == [0, 128, 255]


def test_latents_of_a_decoder_that_is_called_in_parts_are_put_together():
    vae = SimpleNamespace(decode=lambda latents: latents)
    build = Build("", "cpu", {}, None, pipe=SimpleNamespace(vae=vae))
    with recorded_latents(build) as kept:
        for part in torch.arange(8.0, dtype=torch.bfloat16).reshape(2, 1, 4):
            vae.decode(part)
    assert output_of((numpy.zeros((2, 8, 8, 3)),), kept).latents.tolist() == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
    ]
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
