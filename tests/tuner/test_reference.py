from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from search_space.errors import ModelError
from tuner import reference
from tuner.reference.recipe import make
from tuner.reference.stable_diffusion import SD15
from tuner.reference.stable_diffusion_xl import SDXL

pytestmark = pytest.mark.heavy

TINY = [name for name in reference.NAMES if name.endswith("-tiny")]

# diffusers 0.42 hands a tensor to numpy.array in EulerDiscreteScheduler.set_timesteps, and the
# tensors of torch 2.13 do not know the keyword ``copy`` of numpy 2.
tensor_to_numpy = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def generate(pipeline, name: str, prompt: str = "a horse") -> np.ndarray:
    workload = reference.defaults(name)
    size = {"height": workload["height_px"], "width": workload["width_px"]}
    if "num_frames" in workload:
        size["num_frames"] = workload["num_frames"]
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    output = pipeline(prompt, num_inference_steps=2, generator=generator, output_type="np", **size)
    return np.asarray(output.frames if "num_frames" in workload else output.images)[0]


def files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@tensor_to_numpy
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", TINY)
def test_a_tiny_pipeline_generates_what_was_asked_for(name, dtype, cache_dir):
    pipeline = DiffusionPipeline.from_pretrained(reference.build(name, cache_dir), dtype=dtype)
    result = generate(pipeline, name)
    workload = reference.defaults(name)
    frames = [workload["num_frames"]] if "num_frames" in workload else []
    assert result.shape == (*frames, workload["height_px"], workload["width_px"], 3)
    assert np.isfinite(result).all()
    assert result.std() > 0.1
    assert np.mean((result == 0) | (result == 1)) < 0.5


@tensor_to_numpy
@pytest.mark.parametrize("name", TINY)
def test_the_prompt_and_nothing_else_changes_the_result(name, cache_dir):
    pipeline = DiffusionPipeline.from_pretrained(reference.build(name, cache_dir))
    horse = generate(pipeline, name)
    assert np.array_equal(horse, generate(pipeline, name))
    assert np.abs(horse - generate(pipeline, name, "two green apples")).mean() > 0.01


@pytest.mark.parametrize("name", TINY)
def test_a_tiny_pipeline_is_small_and_ready_for_inference(name, cache_dir):
    folder = reference.build(name, cache_dir)
    assert sum(len(content) for content in files(folder).values()) < 70e6
    pipeline = DiffusionPipeline.from_pretrained(folder)
    models = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    assert models and not any(model.training for model in models)


def test_a_second_build_returns_the_same_folder_untouched(cache_dir):
    folder = reference.build("sd15-tiny", cache_dir)
    assert folder.parent == cache_dir and folder.name.startswith("sd15-tiny-")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert reference.build("sd15-tiny", cache_dir) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_two_builds_are_the_same_to_the_byte_and_leave_the_random_state_alone(cache_dir, tmp_path):
    first = reference.build("sd15-tiny", cache_dir)
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    second = reference.build("sd15-tiny", tmp_path)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert files(first) == files(second)
    assert first.name == second.name


def test_no_file_names_the_folder_it_was_built_in(cache_dir):
    contents = files(reference.build("sd15-tiny", cache_dir))
    texts = {name: content for name, content in contents.items() if name.endswith(".json")}
    assert len(texts) == 7
    assert not any(str(cache_dir).encode() in content for content in texts.values())


def test_the_folder_is_one_of_stable_diffusion(cache_dir):
    folder = reference.build("sd15-tiny", cache_dir)
    index = json.loads((folder / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert index["scheduler"] == ["diffusers", "PNDMScheduler"]
    assert index["safety_checker"] == [None, None]
    assert index["requires_safety_checker"] is False


def test_two_processes_may_build_at_once(tmp_path):
    code = (
        "import sys, pathlib; from tuner import reference;"
        "print(reference.build('flux-tiny', pathlib.Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    builds = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [build.communicate(timeout=120)[0].strip() for build in builds]
    assert [build.returncode for build in builds] == [0, 0]
    assert [str(path) for path in tmp_path.iterdir()] == [printed[0]] == [printed[1]]


def test_the_slower_of_two_builds_keeps_what_the_faster_one_made(tmp_path):
    draft, folder = tmp_path / "draft", tmp_path / "folder"
    for path in (draft, folder):
        path.mkdir()
        (path / "model_index.json").write_text(path.name)
    reference._move(draft, folder)
    assert (folder / "model_index.json").read_text() == "folder"


def test_a_rename_that_fails_for_another_reason_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        reference._move(tmp_path / "absent", tmp_path / "folder")


@pytest.mark.parametrize(
    "function", [reference.defaults, lambda name: reference.build(name, Path())]
)
def test_an_unknown_name_is_answered_with_the_nearest(function):
    with pytest.raises(ModelError) as caught:
        function("sd51-tiny")
    assert str(caught.value) == (
        "no reference pipeline 'sd51-tiny': did you mean 'sd15-tiny'? There are: "
        "sd15-tiny, sdxl-tiny, sd3-tiny, flux-tiny, wan-tiny, ltx-tiny, sd15, sdxl"
    )


def test_a_name_like_no_other_is_answered_with_all():
    with pytest.raises(ModelError, match="no reference pipeline '': There are: sd15-tiny, "):
        reference.defaults("")


def test_a_cache_that_is_no_directory_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError) as caught:
        reference.build("sd15-tiny", tmp_path / "file")
    assert "cannot write sd15-tiny-" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("room", [100, 1_000_000], ids=["configs", "weights"])
def test_a_full_disk_is_one_line_and_leaves_nothing_behind(tmp_path, room):
    resource = pytest.importorskip("resource", reason="the limit stands for a full disk")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(ModelError) as caught:
            reference.build("sd15-tiny", tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("recipe", "part", "parameters"),
    [
        (SD15, "unet", 859_520_964),
        (SD15, "vae", 83_653_863),
        (SD15, "text_encoder", 123_060_480),
        (SDXL, "unet", 2_567_463_684),
        (SDXL, "vae", 83_653_863),
        (SDXL, "text_encoder", 123_060_480),
        (SDXL, "text_encoder_2", 694_659_840),
    ],
)
def test_the_full_sizes_are_the_published_ones(recipe, part, parameters):
    model = make(recipe.parts[part])
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_the_full_schedulers_and_precisions_are_the_published_ones():
    assert SD15.parts["scheduler"].class_name == "PNDMScheduler"
    assert SDXL.parts["scheduler"].class_name == "EulerDiscreteScheduler"
    assert (SD15.dtype, SDXL.dtype) == ("float32", "float16")
    vae = make(SDXL.parts["vae"])
    assert (vae.config.scaling_factor, vae.config.force_upcast) == (0.13025, True)


@pytest.mark.parametrize("recipe", [SD15, SDXL], ids=["sd15", "sdxl"])
def test_the_end_of_a_text_is_the_highest_id_and_fits_the_encoder(recipe):
    tokenizer = make(recipe.parts["tokenizer"])
    ids = tokenizer("A horse, 2 apples!").input_ids
    assert ids[0] == 49406 and ids[-1] == max(ids) == 49407
    assert max(ids) < recipe.parts["text_encoder"].config["vocab_size"]
    assert len(set(ids)) > 10


def test_the_second_tokenizer_of_sdxl_pads_with_zero():
    tokenizer = make(SDXL.parts["tokenizer_2"])
    ids = tokenizer("a", padding="max_length", max_length=77, truncation=True).input_ids
    assert len(ids) == 77 and ids[2] == 49407 and set(ids[3:]) == {0}


@pytest.mark.parametrize("component", ["tokenizer", "tokenizer_2"])
def test_a_tokenizer_survives_the_folder(component, cache_dir):
    folder = reference.build("flux-tiny", cache_dir)
    loaded = getattr(DiffusionPipeline.from_pretrained(folder), component)
    made = make(reference._RECIPES["flux-tiny"].parts[component])
    for prompt in ("A horse, 2 apples!", "{[(~)]}", "un caballo pequeño €", ""):
        assert loaded(prompt).input_ids == made(prompt).input_ids
    assert loaded("a horse").input_ids != loaded("a house").input_ids
    assert loaded.model_max_length == made.model_max_length


def test_the_names_have_defaults_that_cannot_be_changed_from_outside():
    assert reference.defaults("sdxl") == {"height_px": 1024, "width_px": 1024, "steps": 20}
    reference.defaults("sdxl")["steps"] = 1
    assert reference.defaults("sdxl")["steps"] == 20


def test_the_import_does_not_load_torch():
    code = "import sys, tuner.reference; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
