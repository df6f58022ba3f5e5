from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search_space.build import Build
from search_space.catalog import all_probes, check_known
from search_space.construct import construct, no_effect

# torch 2.13 exports with what torch 2.13 deprecates; a trial's child shows no warnings.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning"
)
CALL = {
    "prompt": "a horse",
    "height": 64,
    "width": 64,
    "num_inference_steps": 2,
    "output_type": "np",
}
ENGINE = {"engine": "onnxruntime"}


@pytest.fixture(scope="module")
def make(
    reference_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Build, list[str]]]:
    """Builds a pipeline on ONNX Runtime and tells through which phases that went."""
    cache_dir = tmp_path_factory.mktemp("exports")

    def build(config: dict[str, str] = ENGINE) -> tuple[Build, list[str]]:
        phases: list[str] = []
        folder = str(reference_folder("sd3-tiny"))
        made = Build(folder, "cpu", dict(CALL), cache_dir, enter=phases.append)
        construct(made, config).set_progress_bar_config(disable=True)
        return made, phases

    return build


@pytest.fixture(scope="module")
def exported(make: Callable[..., tuple[Build, list[str]]]) -> tuple[Build, list[str]]:
    return make()


def generate(build: Build, **changed: Any) -> np.ndarray:
    import torch

    generator = torch.Generator().manual_seed(0)
    return build.pipe(**{**CALL, **changed}, generator=generator).images


def test_the_graph_is_exported_once_and_then_read(exported, make):
    build, phases = exported
    assert phases == ["record", "export", "session"]
    again, phases = make()
    assert phases == ["record", "session"]
    assert no_effect(again, ENGINE) is None
    assert np.array_equal(generate(build), generate(again))


@pytest.mark.parametrize(
    "changed",
    [{"height": 80}, {"prompt": ["a horse", "a dog"]}, {"guidance_scale": 1.0}],
    ids=["size", "batch", "guidance"],
)
def test_a_call_of_another_shape_says_what_to_do(exported, changed):
    with pytest.raises(ValueError, match=r"was exported for inputs of shape .*: call it with the"):
        generate(exported[0], **changed)


def test_a_decoder_is_handed_a_generator_or_one_an_image_or_none(reference_folder, tmp_path):
    import torch

    build = Build(str(reference_folder("sd15-tiny")), "cpu", dict(CALL), tmp_path)
    construct(build, {"vae_engine": "onnxruntime"}).set_progress_bar_config(disable=True)
    drawn = torch.Generator().manual_seed(0)
    one = build.pipe(**CALL, generator=drawn).images
    listed = build.pipe(**CALL, generator=[drawn.manual_seed(0)]).images
    assert np.array_equal(one, listed)
    assert build.pipe(**CALL).images.shape == one.shape


def test_the_weights_are_given_back_and_their_dtype_and_device_stay_known(exported):
    denoiser = exported[0].pipe.transformer
    assert sum(weight.numel() for weight in denoiser.parameters()) == 0
    assert (str(denoiser.dtype), str(denoiser.device)) == ("torch.float32", "cpu")


def test_a_denoiser_that_runs_elsewhere_is_found_out(exported):
    build, _ = exported
    evidence = {"providers": {"transformer": ["AzureExecutionProvider"]}}
    strayed = Build(build.model, "cpu", {}, build.cache_dir, pipe=build.pipe, evidence=evidence)
    assert no_effect(strayed, ENGINE) == (
        "engine=onnxruntime had no effect: transformer runs on AzureExecutionProvider"
    )
    assert no_effect(Build(build.model, "cpu", {}, build.cache_dir, pipe=build.pipe), ENGINE) == (
        "engine=onnxruntime had no effect: transformer runs on PyTorch"
    )


INT8 = {"onnxruntime-int8-weights", "onnxruntime-int8-dynamic", "onnxruntime-int8"}


@pytest.mark.parametrize(
    ("kind", "facts", "expected"),
    [
        ("cpu", {}, {"onnxruntime", "onnxruntime-openvino", *INT8}),
        (
            "cpu",
            {"system": "Windows AMD64"},
            {"onnxruntime", "onnxruntime-openvino", "onnxruntime-directml", *INT8},
        ),
        ("mps", {"system": "Darwin arm64"}, {"onnxruntime-coreml"}),
        ("cuda", {}, {"onnxruntime", "onnxruntime-tensorrt"}),
        ("cuda", {"packages": {"rocm": "7.0"}}, {"onnxruntime", "onnxruntime-migraphx"}),
        ("xpu", {}, set()),
    ],
)
def test_each_provider_is_offered_where_it_is_made_for_the_device(kind, facts, expected, describe):
    engine = check_known("engine")
    context = describe(kind, **facts)
    offered = {choice.value for choice in engine.choices if choice.need(context) is None}
    assert {value for value in offered if value.startswith("onnxruntime")} == expected


def test_a_provider_that_the_build_does_not_have_is_told_by_its_probe():
    probes = all_probes()
    assert probes["CPUExecutionProvider"]("cpu", 64) is None
    assert probes["CUDAExecutionProvider"]("cpu", 64) == (
        "the installed onnxruntime has no CUDAExecutionProvider: pip install onnxruntime-gpu"
    )


def test_a_graph_is_quantized_once_and_its_choice_must_be_seen(exported, make):
    config = {"engine": "onnxruntime-int8-dynamic"}
    build, phases = make(config)
    assert phases == ["record", "quantize", "session"]
    assert no_effect(build, config) is None
    _, phases = make(config)
    assert phases == ["record", "session"]
    as_exported = exported[0]
    assert no_effect(as_exported, config) == (
        "engine=onnxruntime-int8-dynamic had no effect: no operator of transformer is quantized"
    )


@pytest.mark.filterwarnings("ignore:Specified provider 'DmlExecutionProvider' is not in available")
def test_a_provider_that_onnxruntime_replaces_by_another_is_found_out(make):
    # It warns where a build does not have the provider, and runs the graph on the CPU.
    config = {"engine": "onnxruntime-directml"}
    assert no_effect(make(config)[0], config) == (
        "engine=onnxruntime-directml had no effect: transformer runs on CPUExecutionProvider"
    )
