"""Generated files of a tuned config and of a model: each loads or is refused in one line."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_space.config import steps
from search_space.errors import ModelError, UsageError
from search_space.pipeline.spec import PipelineSpec, read_spec
from tests.generated.documents import files
from tests.tuner.test_emit import tuned
from tuner.loader import load
from tuner.records.tuned import TunedConfig

pytestmark = pytest.mark.timeout(3600)

TUNED = json.loads(json.dumps(tuned({"precision": "bf16", "batch": "times-2"}).to_json()))
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.42.1",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "safety_checker": [None, None],
    "requires_safety_checker": False,
}


@given(content=files(TUNED))
def test_a_config_json_loads_or_is_refused_in_one_line(content, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "tuned-config"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_bytes(content)
    try:
        config = TunedConfig.read(folder)
        steps(config.config)
    except UsageError as error:
        assert "\n" not in str(error)
    else:
        # What is read can be called, and written again as JSON that any reader takes.
        assert "prompt" in config.workload.call()
        json.dumps(config.to_json(), allow_nan=False).encode()
    with pytest.raises(UsageError):
        load(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The files of a small pipeline without its weights, by their path."""
    import diffusers

    folder = tmp_path_factory.mktemp("model")
    sizes = {"block_out_channels": (4,), "norm_num_groups": 2}
    unet = {"cross_attention_dim": 4, "attention_head_dim": 2, "layers_per_block": 1}
    blocks = {
        "down_block_types": ("CrossAttnDownBlock2D",),
        "up_block_types": ("UpBlock2D",),
        "mid_block_type": None,
    }
    parts = {
        "unet": diffusers.UNet2DConditionModel(sample_size=8, **sizes, **unet, **blocks),
        "vae": diffusers.AutoencoderKL(**sizes, latent_channels=4),
        "scheduler": diffusers.PNDMScheduler(),
    }
    for name, part in parts.items():
        part.save_config(folder / name)
    (folder / "model_index.json").write_text(json.dumps(INDEX))
    assert read_spec(folder).vae
    return folder


def spec_or_one_line(folder):
    try:
        spec = read_spec(folder)
    except ModelError as error:
        assert "\n" not in str(error)
    else:
        # As a child tells it to the controller.
        assert PipelineSpec.from_json(json.loads(json.dumps(asdict(spec)))) == spec


@given(content=files(INDEX))
def test_a_model_index_loads_or_is_refused_in_one_line(content, model):
    path = model / "model_index.json"
    path.write_bytes(content)
    try:
        spec_or_one_line(model)
    finally:
        path.write_text(json.dumps(INDEX))


@given(data=st.data())
def test_a_config_of_a_part_loads_or_is_refused_in_one_line(data, model):
    names = ["unet/config.json", "vae/config.json", "scheduler/scheduler_config.json"]
    path = model / data.draw(st.sampled_from(names))
    before = path.read_bytes()
    path.write_bytes(data.draw(files(json.loads(before))))
    try:
        spec_or_one_line(model)
    finally:
        path.write_bytes(before)
