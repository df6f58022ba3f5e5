from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from search_space.errors import ModelError
from search_space.pipeline.attention_layers import (
    attention_layers,
    dispatches,
    fuses_projections,
    head_size,
    passes_masks,
)
from search_space.pipeline.folder import files_fingerprint, read_index
from search_space.pipeline.spec import PipelineSpec, read_spec
from tuner import reference

TINY = [name for name in reference.NAMES if name.endswith("-tiny")]


@pytest.fixture
def sd15(reference_folder: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of a pipeline, to be spoiled."""
    return shutil.copytree(reference_folder("sd15-tiny"), tmp_path / "sd15")


def change(path: Path, **facts: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def complaint(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_spec(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("family", "class_name", "denoiser", "size_multiple_px", "frame_multiple", "tile_px"),
    [
        ("sd15-tiny", "StableDiffusionPipeline", "unet", 8, 1, 128),
        ("sdxl-tiny", "StableDiffusionXLPipeline", "unet", 8, 1, 128),
        ("sd3-tiny", "StableDiffusion3Pipeline", "transformer", 16, 1, 128),
        ("flux-tiny", "FluxPipeline", "transformer", 16, 1, 128),
        ("wan-tiny", "WanPipeline", "transformer", 16, 4, 256),
        ("ltx-tiny", "LTXPipeline", "transformer", 32, 8, 512),
    ],
)
def test_the_limits_of_each_family_are_read_from_its_configs(
    reference_spec, family, class_name, denoiser, size_multiple_px, frame_multiple, tile_px
):
    spec = reference_spec(family)
    assert spec.class_name == class_name
    assert [part.name for part in spec.denoisers] == [denoiser]
    assert spec.size_multiple_px == size_multiple_px
    assert spec.frame_multiple == frame_multiple
    assert spec.vae.tile_px == tile_px
    assert spec.vae.slices and spec.vae.tiles
    assert "prompt" in spec.call_parameters


@pytest.mark.parametrize(
    ("family", "slices_attention", "repeats_blocks", "weight_rank", "processors"),
    [
        ("sd15-tiny", True, True, 4, {"AttnProcessor2_0"}),
        ("sdxl-tiny", True, True, 4, {"AttnProcessor2_0"}),
        ("sd3-tiny", False, False, 4, {"JointAttnProcessor2_0"}),
        ("flux-tiny", False, True, 2, {"FluxAttnProcessor"}),
        ("wan-tiny", False, True, 5, {"WanAttnProcessor"}),
        ("ltx-tiny", False, True, 2, {"LTXVideoAttnProcessor"}),
    ],
)
def test_what_a_denoiser_can_do_is_read_without_its_weights(
    reference_spec, family, slices_attention, repeats_blocks, weight_rank, processors
):
    (denoiser,) = reference_spec(family).denoisers
    assert denoiser.slices_attention == slices_attention
    assert denoiser.repeats_blocks == repeats_blocks
    assert denoiser.weight_rank == weight_rank
    assert set(denoiser.attention_processors) == processors
    assert (denoiser.convolutions > 0) == (weight_rank == 4)
    assert denoiser.parameters > 1e6


@pytest.mark.parametrize(
    ("family", "dispatches", "masks", "head_size", "fuses"),
    [
        ("sd15-tiny", False, False, 32, True),
        ("sdxl-tiny", False, False, 64, True),
        ("sd3-tiny", False, False, 64, True),
        ("flux-tiny", True, False, 64, True),
        ("wan-tiny", True, False, 64, True),
        ("ltx-tiny", True, True, 64, False),
    ],
)
def test_what_the_attention_of_a_denoiser_can_do_is_known(
    reference_spec, family, dispatches, masks, head_size, fuses
):
    (denoiser,) = reference_spec(family).denoisers
    assert denoiser.dispatches_attention == dispatches
    assert denoiser.calls_sdpa == (not dispatches)
    assert denoiser.masks_attention == masks
    assert denoiser.head_size == head_size
    assert denoiser.fuses_projections == fuses


@pytest.mark.parametrize(
    ("call", "masks"),
    [
        ("self.transformer(timestep=t, encoder_attention_mask=mask)", True),
        ("self.transformer(latents, encoder_hidden_states=text, encoder_mask=mask)", True),
        ("self.transformer(timestep=t, encoder_hidden_states_mask=mask)", True),
        ("self.unet(latents, t, encoder_hidden_states=text)", False),
        ("self.text_encoder(ids, attention_mask=mask)", False),
        ("self.transformer(timestep=t, padding_mask=mask)", False),
    ],
)
def test_attention_masks_are_those_that_the_denoiser_is_called_with(call, masks):
    assert passes_masks(call) == masks


@pytest.mark.parametrize(
    ("class_name", "facts"),
    [
        # Models without attn_processors, with a refiner that does not dispatch, with processors
        # whose fused form would lose something, and with heads that are named otherwise.
        ("ZImageTransformer2DModel", (34, True, 128, False)),
        ("HunyuanVideoTransformer3DModel", (62, True, 128, False)),
        ("DreamLiteUNetModel", (19, True, 20, False)),
        ("Ideogram4Transformer2DModel", (34, True, 256, False)),
        ("PixArtTransformer2DModel", (56, False, 72, True)),
    ],
)
def test_the_attention_of_other_models_is_known_too(class_name, facts):
    import diffusers

    with torch.device("meta"):
        model = getattr(diffusers, class_name)()
    layers = attention_layers(model)
    sizes = {head_size(layer) for layer in layers}
    dispatch = any(map(dispatches, layers))
    assert (len(layers), dispatch, max(sizes), fuses_projections(model)) == facts


def test_the_weights_are_not_needed(sd15, reference_spec):
    for path in sd15.rglob("*.safetensors"):
        path.unlink()
    assert read_spec(sd15).denoisers == reference_spec("sd15-tiny").denoisers


@pytest.mark.parametrize("family", TINY)
def test_a_spec_comes_back_from_json(reference_spec, family):
    spec = reference_spec(family)
    assert PipelineSpec.from_json(json.loads(json.dumps(asdict(spec)))) == spec


def test_a_spec_without_vae_comes_back_from_json():
    spec = PipelineSpec("folder", "Pipeline", "b2:0f")
    assert PipelineSpec.from_json(json.loads(json.dumps(asdict(spec)))) == spec


def test_a_pipeline_without_vae_has_a_spec(sd15):
    change(sd15 / "model_index.json", vae=[None, None])
    spec = read_spec(sd15)
    assert spec.vae is None
    assert spec.size_multiple_px == 1


def test_the_defaults_of_the_call_are_known_where_it_has_some(reference_spec):
    assert reference_spec("sd15-tiny").defaults == {"height_px": 128, "width_px": 128, "steps": 50}
    assert reference_spec("flux-tiny").defaults == {"steps": 28}
    assert reference_spec("wan-tiny").defaults["num_frames"] == 81


def test_the_classes_are_named_with_their_library(reference_spec):
    assert reference_spec("sd15-tiny").classes == (
        "diffusers:AutoencoderKL",
        "diffusers:PNDMScheduler",
        "diffusers:StableDiffusionPipeline",
        "diffusers:UNet2DConditionModel",
        "transformers:CLIPTextModel",
        "transformers:CLIPTokenizer",
    )


def test_the_fingerprint_is_of_the_files_and_not_of_the_folder(sd15, reference_spec):
    assert read_spec(sd15).fingerprint == reference_spec("sd15-tiny").fingerprint


@pytest.mark.parametrize("end", ["first", "last"])
def test_another_weight_or_config_is_another_model(sd15, end):
    before = files_fingerprint(sd15)
    weights = next((sd15 / "unet").glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[0 if end == "first" else -1] ^= 1
    weights.write_bytes(content)
    changed = files_fingerprint(sd15)
    change(sd15 / "scheduler" / "scheduler_config.json", steps_offset=0)
    assert len({before, changed, files_fingerprint(sd15)}) == 3


def test_a_note_beside_the_model_does_not_change_it(sd15):
    before = files_fingerprint(sd15)
    (sd15 / "README.md").write_text("a note")
    assert files_fingerprint(sd15) == before


def test_a_folder_without_index_is_no_pipeline(tmp_path):
    assert complaint(tmp_path) == (
        f"{tmp_path} is not a diffusers folder: it has no model_index.json; "
        "give a folder written by save_pretrained, a Hub id or reference:NAME"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"_class_name": "Stable', "cannot be read (Unterminated string"),
        (b"", "cannot be read (Expecting value"),
        (b"\xff\xfe", "cannot be read ('utf-8' codec"),
        (b"[]", "cannot be read (it holds no JSON object)"),
        (b"null", "cannot be read (it holds no JSON object)"),
    ],
)
@pytest.mark.parametrize("name", ["model_index.json", "unet/config.json"])
def test_a_corrupt_file_is_named(sd15, name, content, reason):
    (sd15 / name).write_bytes(content)
    assert f"{sd15 / name} {reason}" in complaint(sd15)
    assert complaint(sd15).endswith(": fetch the model again")


def test_a_config_that_is_not_there_is_named(sd15):
    (sd15 / "vae" / "config.json").unlink()
    assert str(sd15 / "vae" / "config.json") in complaint(sd15)


def test_a_config_that_its_class_refuses_is_named(sd15):
    change(sd15 / "unet" / "config.json", down_block_types=["NoSuchBlock"] * 3)
    assert "UNet2DConditionModel" in complaint(sd15)
    assert "NoSuchBlock" in complaint(sd15)


@pytest.mark.parametrize("name", ["ImaginaryPipeline", None, 3, "models"])
def test_a_pipeline_class_that_diffusers_does_not_have_is_named(sd15, name):
    change(sd15 / "model_index.json", _class_name=name)
    assert f"asks for the class {name!r}, which diffusers " in complaint(sd15)
    assert complaint(sd15).endswith("does not have: pip install --upgrade diffusers")


@pytest.mark.parametrize("part", [["diffusers", "ImaginaryModel"], ["diffusers", None]])
def test_a_model_class_that_diffusers_does_not_have_is_named(sd15, part):
    change(sd15 / "model_index.json", unet=part)
    assert f"asks for the class {part[1]!r}" in complaint(sd15)


def test_the_index_is_read_as_it_stands(sd15):
    assert read_index(sd15)["unet"] == ["diffusers", "UNet2DConditionModel"]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("feature_extractor", ["venv.__main__", "x"]),
        ("scheduler", ["onnxruntime.training", "ORTModule"]),
        ("text_encoder", ["transformers.models.clip", "CLIPTextModel"]),
        ("unet", ["__loader__", "x"]),
        ("vae", ["os", "system"]),
        ("vae", [["diffusers"], "AutoencoderKL"]),
        ("_class_name", ["pipeline", "Pipeline"]),
    ],
)
def test_a_part_of_another_library_is_refused(sd15, name, part):
    change(sd15 / "model_index.json", **{name: part})
    said = complaint(sd15)
    assert f"takes its {name} from {part[0]!r}, whose code would be run" in said


def test_parts_of_diffusers_own_pipelines_and_absent_ones_are_not_refused(sd15):
    checker = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index = {"safety_checker": checker, "image_encoder": [None, None], "_ignore_files": ["a", "b"]}
    change(sd15 / "model_index.json", **index)
    classes = read_spec(sd15).classes
    assert "transformers:CLIPTextModel" in classes
    assert all(name.startswith(("diffusers:", "transformers:")) for name in classes)


@pytest.mark.parametrize("name", ["utils", "OptionalDependencyNotAvailable.x", "TYPE_CHECKING", 7])
def test_a_pipeline_that_is_no_class_of_diffusers_is_refused(sd15, name):
    change(sd15 / "model_index.json", _class_name=name)
    assert f"asks for the class {name!r}" in complaint(sd15)
