"""Switches that say nothing and do nothing; those of attention and of caches are tested apart."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import diffusers
import pytest
import torch

from search_space.build import Build
from search_space.catalog import all_knobs, all_probes, check_known
from search_space.config import final_call
from search_space.construct import construct, no_effect
from search_space.knob import Stage
from search_space.knobs.engine_compile import inductor_options
from search_space.pipeline.spec import read_spec
from search_space.space import Space
from search_space.workload import Workload
from tuner.processes.children import Children
from tuner.processes.task import leave_result

CALL = {"prompt": "a horse", "height": 64, "width": 64, "num_inference_steps": 2}

# diffusers 0.42 hands a tensor to numpy.array in EulerDiscreteScheduler.set_timesteps.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def make(reference_folder: Callable[[str], Path], tmp_path: Path) -> Callable[..., Build]:
    """A pipeline with a config, whether or not the config is available."""

    def build(family: str, config: dict[str, str], **call: Any) -> Build:
        made = Build(str(reference_folder(family)), "cpu", {**CALL, **call}, tmp_path)
        construct(made, config).set_progress_bar_config(disable=True)
        return made

    return build


def reason(context: Any, name: str, value: str) -> str | None:
    return Space(context).reason(check_known(name), value)


@pytest.mark.parametrize(("side_px", "tiles"), [(128, False), (144, True)])
def test_an_image_that_fits_into_one_tile_is_decoded_whole(side_px, tiles, make):
    config = {"vae_tiling": "on"}
    build = make("sd15-tiny", config, height=side_px, width=side_px)
    build.pipe(**build.call)
    whole = "vae_tiling=on had no effect: the VAE decoded the image whole"
    assert no_effect(build, config) == (None if tiles else whole)


# diffusers 0.42 keeps the ratio of that of Cosmos in its config alone, and says so.
@pytest.mark.filterwarnings("ignore:Accessing config attribute:FutureWarning")
@pytest.mark.parametrize(
    ("name", "tiles"), [("AutoencoderKLCosmos", False), ("AutoencoderTiny", True)]
)
def test_a_vae_with_the_switch_and_no_tiles_is_not_offered_them(
    name, tiles, describe, reference_folder, tmp_path
):
    # That of Cosmos takes the switch and decodes whole, however large the image is.
    with torch.device("meta"):
        assert hasattr(getattr(diffusers, name)(), "use_tiling")
    folder = shutil.copytree(reference_folder("sd15-tiny"), tmp_path / "model")
    index = json.loads((folder / "model_index.json").read_text())
    index["vae"] = ["diffusers", name]
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "vae" / "config.json").write_text("{}")
    large = Workload("", height_px=1024, width_px=1024)
    context = replace(describe(workload=large), spec=read_spec(folder))
    said = None if tiles else f"{name} cannot decode in tiles"
    assert reason(context, "vae_tiling", "on") == said


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_single_image_is_not_sliced(batch_size, describe):
    context = describe(workload=Workload("sd15-tiny", batch_size=batch_size))
    one = "a batch of 1 has nothing to slice: give --batch-size"
    assert reason(context, "vae_slicing", "on") == (one if batch_size == 1 else None)


def test_linear_layers_have_no_order_of_channels(make, describe):
    config = {"memory_format": "channels_last"}
    said = reason(describe("cpu", "ltx-tiny"), "memory_format", "channels_last")
    assert said.startswith("LTXVideoTransformer3DModel has no 2-D convolution; ")
    assert no_effect(make("ltx-tiny", config), config) == (
        "memory_format=channels_last had no effect: no weight is in channels_last order"
    )


def test_cuda_graphs_are_not_recorded_on_a_cpu(describe, tmp_path):
    assert "reduce-overhead records CUDA graphs" in reason(
        describe("cpu"), "engine", "compile-reduce-overhead"
    )
    assert reason(describe("cuda"), "engine", "compile-reduce-overhead") is None
    for device, told in (("cpu", False), ("cuda", True)):
        options = inductor_options(Build("", device, {}, tmp_path), "max-autotune")
        assert ("triton.cudagraphs" in options) is told


def test_guidance_is_left_as_it_was_asked_for():
    # Without guidance a distilled model is called no less often than with it.
    call = Workload("flux-tiny", guidance_scale=3.5, steps=20).call()
    for knob in all_knobs():
        for value in knob.values if knob.stage is Stage.CALL else ():
            assert final_call({knob.name: value}, call)["guidance_scale"] == 3.5


def test_another_dtype_asked_for_after_quantization_is_seen_not_to_have_come(make):
    pytest.importorskip("torchao")
    build = make("ltx-tiny", {"quantization": "torchao-int8-weights"})
    build.pipe.to(torch.bfloat16)
    assert no_effect(build, {"precision": "bf16"}) == (
        "precision=bf16 had no effect: the weights of transformer are float32"
    )


def test_xformers_that_can_be_imported_and_not_called_is_told(monkeypatch):
    # As where its extension was built for another torch than the one that is there.
    def memory_efficient_attention(*_: Any) -> None:
        raise NotImplementedError("No operator found for `memory_efficient_attention_forward`")

    ops = ModuleType("xformers.ops")
    monkeypatch.setattr(ops, "memory_efficient_attention", memory_efficient_attention, False)
    monkeypatch.setitem(sys.modules, "xformers", ModuleType("xformers"))
    monkeypatch.setitem(sys.modules, "xformers.ops", ops)
    assert all_probes()["xformers"]("cpu", 64) == (
        "xFormers does not work here, its extension does not load: "
        "No operator found for `memory_efficient_attention_forward`"
    )


# OpenVINO's backend for torch.compile leaves its state in the process.


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    with Children() as opened:
        yield opened


def fail(*_: Any, **__: Any) -> None:
    raise RuntimeError("an operator that OpenVINO does not know")


def call_where_openvino_fails(folder: Path) -> None:
    """Call a pipeline on OpenVINO, of which one part fails, and tell what is seen of it."""
    from openvino.frontend.pytorch.torchdynamo import backend, execute

    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    # What stands in for OpenVINO is not compiled: that would take long.
    backend.compile_fx = lambda graph, inputs: graph
    module = {"backend": backend, "execute": execute}[request["module"]]
    setattr(module, request["function"], fail)
    config = {"engine": "compile-openvino"}
    build = Build(request["model"], "cpu", dict(CALL), folder)
    construct(build, config).set_progress_bar_config(disable=True)
    build.pipe(**build.call)
    leave_result(folder, {"seen": no_effect(build, config)})


@pytest.mark.parametrize(
    ("module", "function", "seen"),
    [
        ("backend", "replace_params_with_constants", "OpenVINO left 1 graphs to inductor"),
        ("execute", "openvino_compile", "OpenVINO left a part of the denoiser to PyTorch"),
    ],
)
def test_what_openvino_leaves_to_others_is_found_out(
    module, function, seen, children, reference_folder
):
    pytest.importorskip("openvino")
    model = str(reference_folder("sd3-tiny"))
    request = {"model": model, "module": module, "function": function}
    task = f"{__name__}:call_where_openvino_fails"
    made = children.call(task, request, timeout_s=300.0)
    assert made["seen"] == f"engine=compile-openvino had no effect: {seen}"
