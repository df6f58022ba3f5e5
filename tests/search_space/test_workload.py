from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from search_space.errors import ModelError, UsageError
from search_space.pipeline.spec import PipelineSpec
from search_space.workload import PROMPT, Workload, check_workload

CALL = ("prompt", "height", "width", "num_inference_steps", "guidance_scale")
IMAGES = PipelineSpec("", "ImagePipeline", "", call_parameters=CALL, size_multiple_px=16)
VIDEOS = replace(
    IMAGES,
    class_name="VideoPipeline",
    call_parameters=(*CALL, "num_frames"),
    frame_multiple=4,
)
FULL = Workload("model", "b2:0f", 512, 768, 9, 30, 2, 7.5, ("a horse", "a dog"), 3)


def test_the_call_holds_what_is_known_and_leaves_the_rest_to_the_pipeline():
    assert Workload("model").call() == {"prompt": PROMPT}
    assert FULL.call() == {
        "prompt": ["a horse", "a dog"],
        "height": 512,
        "width": 768,
        "num_frames": 9,
        "num_inference_steps": 30,
        "guidance_scale": 7.5,
    }


@pytest.mark.parametrize(
    ("prompts", "batch_size", "called"),
    [
        (("a",), 1, "a"),
        (("a", "b"), 1, "a"),
        (("a",), 3, ["a", "a", "a"]),
        (("a", "b"), 3, ["a", "b", "a"]),
    ],
)
def test_the_prompts_fill_the_batch(prompts, batch_size, called):
    assert Workload("model", prompts=prompts, batch_size=batch_size).call()["prompt"] == called


def test_guidance_of_zero_is_a_figure_and_not_a_gap():
    assert Workload("model", guidance_scale=0.0).call()["guidance_scale"] == 0.0


def test_defaults_fill_only_the_gaps():
    filled = Workload("model", height_px=64).filled({"height_px": 512, "steps": 50})
    assert filled == Workload("model", height_px=64, steps=50)


def test_a_workload_comes_back_from_json():
    assert Workload.from_json(json.loads(json.dumps(asdict(FULL)))) == FULL


def test_the_same_files_are_the_same_workload_whatever_the_folder_is_called():
    assert replace(FULL, model="elsewhere").fingerprint == FULL.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"model_fingerprint": "b2:10"},
        {"height_px": 256},
        {"steps": 4},
        {"batch_size": 1},
        {"guidance_scale": None},
        {"prompts": ("a horse",)},
        {"seed": 0},
    ],
    ids=str,
)
def test_anything_else_makes_another_workload(change):
    assert replace(FULL, **change).fingerprint != FULL.fingerprint


@pytest.mark.parametrize(
    ("spec", "workload"),
    [
        (IMAGES, Workload("model")),
        (IMAGES, Workload("model", height_px=16, width_px=1024)),
        (VIDEOS, Workload("model")),
        (VIDEOS, Workload("model", num_frames=1)),
        (VIDEOS, Workload("model", height_px=64, width_px=64, num_frames=81)),
    ],
)
def test_a_workload_that_suits_the_pipeline_passes(spec, workload):
    assert check_workload(workload, spec) is None


@pytest.mark.parametrize(
    ("spec", "facts", "message"),
    [
        (IMAGES, {"height_px": 500}, "--height 500 is not divisible by 16, .*: take 496$"),
        (IMAGES, {"width_px": 505}, "--width 505 is not divisible by 16, .*: take 512$"),
        (IMAGES, {"width_px": 3}, "--width 3 is not divisible by 16, .*: take 16$"),
        (IMAGES, {"num_frames": 9}, "ImagePipeline makes images: leave --num-frames out$"),
        (VIDEOS, {"num_frames": 8}, "--num-frames 8 .*: take a multiple of 4 plus 1, such as 5$"),
        (VIDEOS, {"num_frames": 2}, "--num-frames 2 .*: take a multiple of 4 plus 1, such as 1$"),
    ],
)
def test_a_workload_that_does_not_suit_is_answered_with_one_that_does(spec, facts, message):
    with pytest.raises(UsageError, match=message):
        check_workload(Workload("model", **facts), spec)


def test_a_pipeline_without_prompt_is_not_for_us():
    with pytest.raises(ModelError, match="ImagePipeline takes no prompt"):
        check_workload(Workload("model"), replace(IMAGES, call_parameters=("image",)))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"guidance_scale": 5.0}, "takes no guidance_scale: leave --guidance-scale out"),
        ({"steps": 4}, "takes no num_inference_steps: leave --steps out"),
        ({"height_px": 64}, "takes no height: leave --height out"),
    ],
)
def test_an_option_that_the_pipeline_does_not_take_is_a_usage_error(asked, message):
    bare = replace(IMAGES, call_parameters=("prompt",))
    check_workload(Workload("m"), bare)
    with pytest.raises(UsageError, match=message):
        check_workload(Workload("m", **asked), bare)
