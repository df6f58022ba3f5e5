from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from search_space.build import Build
from search_space.construct import construct, no_effect
from search_space.errors import UsageError
from search_space.knob import Stage

CALL = {
    "prompt": "a horse",
    "height": 64,
    "width": 64,
    "num_inference_steps": 2,
    "output_type": "np",
}


@pytest.fixture
def make(reference_folder: Callable[[str], Path], tmp_path: Path) -> Callable[..., Build]:
    def build(family: str = "sd15-tiny", **facts: object) -> Build:
        return Build(str(reference_folder(family)), "cpu", dict(CALL), tmp_path, **facts)

    return build


def test_the_controller_is_told_the_stage_ahead_of_each_step(make):
    told = []
    config = {"memory_format": "channels_last", "precision": "bf16", "attention": "plain"}
    build = make()
    pipe = construct(build, config, before=lambda stage: told.append((stage, build.pipe)))
    assert [stage for stage, _ in told] == [Stage.LOAD, Stage.ATTENTION, Stage.MEMORY_FORMAT]
    assert [found for _, found in told] == [None, pipe, pipe]
    assert no_effect(build, config) is None


def test_weights_that_were_saved_in_16_bits_are_all_widened(make, tmp_path):
    import torch

    build = make("sdxl-tiny")
    construct(build, {"precision": "fp16"}).save_pretrained(tmp_path / "saved")
    build = replace(make("sdxl-tiny"), model=str(tmp_path / "saved"))
    pipe = construct(build, {})
    models = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    assert {part.dtype for part in models} == {torch.float32}


def test_the_first_choice_without_effect_is_told(make):
    build = make()
    construct(build, {"precision": "bf16"})
    config = {"precision": "bf16", "attention": "plain", "memory_format": "channels_last"}
    assert no_effect(build, config) == (
        "attention=plain had no effect: the attention processors of unet are AttnProcessor2_0"
    )


def test_an_unknown_choice_is_refused_before_anything_is_loaded(make):
    build = make()
    with pytest.raises(UsageError, match="did you mean 'bf16'"):
        construct(build, {"precision": "bf61"})
    assert build.pipe is None


@pytest.mark.parametrize(
    ("family", "denoiser"), [("sd15-tiny", "unet"), ("flux-tiny", "transformer")]
)
def test_the_denoiser_and_the_vae_are_found_by_name(make, family, denoiser):
    build = make(family)
    construct(build, {})
    assert list(build.denoisers()) == [denoiser]
    assert list(build.models()) == [denoiser, "vae"]


def test_each_model_runs_once_to_be_recorded(make):
    phases, steps = [], []
    build = make(enter=phases.append)
    pipe = construct(build, {})
    pipe.set_progress_bar_config(disable=True)
    pipe.unet.conv_in.register_forward_hook(lambda *call: steps.append(call))
    recorded = build.record()
    assert set(recorded) == {"unet", "vae", "text_encoder"}
    assert recorded["unet"].args[0].shape == (2, 4, 8, 8)
    assert recorded["unet"].kwargs["encoder_hidden_states"].shape[0] == 2
    assert recorded["vae"].output[0].shape == (1, 3, 64, 64)
    assert recorded["vae"].output[0].device.type == "meta"
    assert build.record() is recorded
    assert (phases, len(steps)) == (["record"], 1)


def test_after_a_recording_the_pipeline_runs_to_its_end(make):
    build = make()
    pipe = construct(build, {})
    pipe.set_progress_bar_config(disable=True)
    build.record()
    assert pipe(**CALL).images.shape == (1, 64, 64, 3)
