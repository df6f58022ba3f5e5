"""Model folders that mean harm, or are badly damaged: one line, and nothing in them is executed."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import time

import pytest
import torch

from search_space.build import Build
from search_space.errors import ModelError
from search_space.pipeline.spec import read_spec


@pytest.fixture
def sd15(reference_folder, tmp_path):
    """A copy of a pipeline, to be spoiled."""
    return shutil.copytree(reference_folder("sd15-tiny"), tmp_path / "sd15")


class Writing:
    """What makes a folder when its pickle is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def change(path, **facts):
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def complaint(folder):
    with pytest.raises(ModelError) as caught:
        read_spec(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_pickle_is_refused_and_never_loaded(sd15, tmp_path, part):
    written = tmp_path / "written"
    (weights,) = (sd15 / part).glob("*.safetensors")
    name = "pytorch_model.bin" if part == "text_encoder" else "diffusion_pytorch_model.bin"
    harmful = sd15 / part / name
    harmful.write_bytes(pickle.dumps({"conv_in.weight": Writing(written)}))
    read_spec(sd15)
    weights.unlink()
    assert complaint(sd15).startswith(f"{harmful} is a pickle, which can hold code")
    build = Build(str(sd15), "cpu", {}, tmp_path)
    with pytest.raises((OSError, ValueError)):
        build.load_pipeline()
    assert read_spec(sd15, allow_pickle=True).pickled
    build = Build(str(sd15), "cpu", {}, tmp_path, pickled=True)
    with pytest.raises(Exception, match=r"(?i)weights.only|pickle"):
        build.load_pipeline()
    assert not written.exists()
    pickle.loads(harmful.read_bytes())
    assert written.exists()


def test_pickles_are_loaded_as_data_where_they_are_allowed(sd15, tmp_path):
    from safetensors.torch import load_file

    weights = sd15 / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    assert not read_spec(sd15, allow_pickle=True).pickled
    weights.unlink()
    assert read_spec(sd15, allow_pickle=True).pickled
    build = Build(str(sd15), "cpu", {}, tmp_path, pickled=True)
    build.load_pipeline()
    assert build.pipe.unet.conv_in.weight.isfinite().all()


@pytest.mark.parametrize(
    "facts",
    [
        {"scheduler": ["diffusers"]},
        {"scheduler": []},
        {"text_encoder": ["transformers"]},
        {"text_encoder": [None, 3]},
        {"text_encoder": {"transformers": "CLIPTextModel"}},
        {"text_encoder_2": 1e300},
    ],
)
def test_a_part_of_another_form_is_no_part(sd15, facts):
    change(sd15 / "model_index.json", **facts)
    assert read_spec(sd15).denoisers


@pytest.mark.parametrize("part", [[None, None], [], ["diffusers"], "UNet2DConditionModel"])
def test_a_pipeline_without_denoiser_cannot_be_tuned(sd15, part):
    change(sd15 / "model_index.json", unet=part)
    assert complaint(sd15) == (
        f"{sd15} has no denoiser (a UNet or a transformer): it cannot be tuned"
    )


@pytest.mark.parametrize("name", ["../elsewhere", "/etc", "a\x00b", "", "..", "a b"])
def test_a_part_outside_the_folder_is_refused(sd15, name):
    change(sd15 / "model_index.json", **{name: ["diffusers", "UNet2DConditionModel"]})
    assert f"has a part {name!r}, which is no name" in complaint(sd15)


@pytest.mark.parametrize(
    "facts",
    [
        {"layers_per_block": 10**9},
        {"transformer_layers_per_block": [10**300]},
        {"transformer_layers_per_block": 10**5},
        {"block_out_channels": [32] * 100_000, "down_block_types": ["DownBlock2D"] * 100_000},
    ],
)
def test_a_model_without_end_is_given_up(sd15, facts):
    change(sd15 / "unet" / "config.json", **facts)
    began_s = time.process_time()
    assert str(sd15 / "unet" / "config.json") in complaint(sd15)
    # Seconds of this process: a machine that is busy does not count.
    assert time.process_time() - began_s < 60


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[" * 100_000, "it is nested too deeply"),
        ('{"a":' * 100_000, "it is nested too deeply"),
        (f'{{"_class_name": {10**30}}}', "it holds a number beyond 9223372036854775807"),
        ('{"a": "' + "x" * 2**24 + '"}', "larger than 16 MiB"),
        ('{"_class_name": "\\ud800"}', "asks for the class '\\ud800'"),
    ],
)
def test_an_index_that_is_no_document_is_told(sd15, content, reason):
    (sd15 / "model_index.json").write_text(content)
    assert reason in complaint(sd15)


@pytest.mark.parametrize(
    "facts",
    [
        {"attn_implementation": "kernels-community/x"},
        {"_attn_implementation": "someone/x@main:f"},
        {"attn_implementation": {"text_config": "someone/x"}},
        {"text_config": {"attn_implementation": "someone/x"}},
    ],
)
def test_a_kernel_that_a_config_names_is_refused(sd15, facts):
    change(sd15 / "text_encoder" / "config.json", attn_implementation="sdpa")
    read_spec(sd15)
    change(sd15 / "text_encoder" / "config.json", **facts)
    assert "of the Hub, whose code would be run" in complaint(sd15)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_what_never_ends_is_not_read(sd15):
    for name in ("unet/config.json", "notes.json"):
        (sd15 / name).unlink(missing_ok=True)
        os.mkfifo(sd15 / name)
    assert "unet/config.json cannot be read (it is no file)" in complaint(sd15)


def test_a_scheduler_may_have_an_infinite_figure(sd15):
    change(sd15 / "scheduler" / "scheduler_config.json", lambda_min_clipped=-float("inf"))
    assert read_spec(sd15).schedulers
