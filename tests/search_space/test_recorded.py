"""What would be called on devices that are not here, checked against the real signatures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from search_space.catalog import all_knobs
from search_space.knob import Choice, Context, Knob, Tier
from search_space.pipeline.spec import PipelineSpec
from search_space.space import Space
from search_space.workload import Workload
from tests.search_space.choices import FAMILIES, WORKLOADS, workload_of
from tests.search_space.recording import RecordedBuild, checked, for_want_of_it
from tuner.processes.children import Children

KINDS = ("cuda", "mps", "xpu", "hpu")
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def children(reference_spec: Callable[[str], PipelineSpec]) -> Iterator[Children]:
    with Children() as opened:
        for family in FAMILIES:
            opened.preload(reference_spec(family).classes)
        yield opened


@pytest.fixture(scope="module")
def offered(describe: Callable[..., Context]) -> Callable[..., Any]:
    """The first family and the smallest workload for which a choice is offered, with a config."""

    def find(kind: str, knob: Knob, choice: Choice) -> tuple[str, Workload, dict[str, str]] | None:
        for workload, family in product(WORKLOADS, FAMILIES):
            chosen = workload_of(family, workload)
            context = replace(
                describe(kind, family, chosen, device_count=2),
                quality=Tier.LOSSY,
                allow_lossy=True,
                allow_remote_code=True,
            )
            if choice.need(context) is None:
                return family, chosen, Space(context).supported({knob.name: choice.value})
        return None

    return find


@pytest.fixture(scope="module")
def build(
    children: Children,
    reference_folder: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Any]:
    """What was called for each config, built in a process that takes along what they leave."""
    cache_dir = str(tmp_path_factory.mktemp("exports"))

    def built(kind: str, configs: dict[str, Any], look: bool = False) -> Any:
        asked = [
            (name, str(reference_folder(family)), asdict(workload), config)
            for name, (family, workload, config) in configs.items()
        ]
        request = {"kind": kind, "configs": asked, "cache_dir": cache_dir, "look": look}
        return children.call("tests.search_space.recording:build_all", request, timeout_s=300.0)

    return built


@every_kind
@pytest.mark.parametrize("knob", all_knobs(), ids=lambda knob: knob.name)
def test_every_call_that_would_be_made_fits_what_is_called(knob, kind, offered, build):
    found = {choice.value: offered(kind, knob, choice) for choice in knob.choices[1:]}
    configs = {value: config for value, config in found.items() if config}
    made = build(kind, configs) if configs else {}
    assert set(made) == set(configs)
    assert {value: seen["mistake"] for value, seen in made.items() if seen["mistake"]} == {}
    if stopped := {value: seen["stopped"] for value, seen in made.items() if seen["stopped"]}:
        pytest.skip(f"not checked to their ends on {kind}: {stopped}")


def test_what_must_be_called_is_called(offered, build):
    knobs = {knob.name: knob for knob in all_knobs()}
    expected = {
        "model-offload": "DiffusionPipeline.enable_model_cpu_offload",
        "sequential-offload": "DiffusionPipeline.enable_sequential_cpu_offload",
        "group-offload-block": "DiffusionPipeline.enable_group_offload",
        "group-offload-leaf-stream": "DiffusionPipeline.enable_group_offload",
    }
    placement = knobs["placement"]
    configs = {
        value: offered("cuda", placement, placement.choice(value)) for value in placement.values[1:]
    }
    made = build("cuda", configs)
    for value, call in expected.items():
        assert call in made[value]["calls"]
        # A placement is not followed by a move.
        assert "DiffusionPipeline.to" not in made[value]["calls"]


def test_what_is_wrapped_for_gaudi_is_seen_to_be(offered, build):
    engine = next(knob for knob in all_knobs() if knob.name == "engine")
    wanted = ("hpu-graphs", "hpu-compile")
    configs = {value: offered("hpu", engine, engine.choice(value)) for value in wanted}
    made = build("hpu", configs, look=True)
    assert made["hpu-graphs"]["seen"] is None
    # Compiled in the first call, of which there was none.
    assert made["hpu-compile"]["seen"].endswith("torch.compile captured no graph")
    assert "Module.compile" in made["hpu-compile"]["calls"]


# The recorder itself must be able to fail.


class Model:
    def move(self, device: str, *, slowly: bool = False) -> str:
        if device != "here":
            raise RuntimeError(f"Torch is not built for {device}")
        return device


@pytest.mark.parametrize("arguments", [(), ("cuda", True), ("cuda", "twice")])
def test_arguments_that_do_not_fit_are_a_mistake(arguments):
    calls: list[str] = []
    with pytest.raises(TypeError):
        checked(Model().move, calls)(*arguments)
    assert calls == []


def test_a_keyword_that_there_is_not_is_a_mistake():
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'fast'"):
        checked(Model().move, [])("cuda", fast=True)


def test_a_call_may_fail_for_want_of_the_device_and_of_nothing_else():
    calls: list[str] = []
    assert checked(Model().move, calls)("cuda", slowly=True) is None
    assert checked(Model().move, calls)("here") == "here"
    with pytest.raises(RuntimeError, match="not built for nothing"):
        checked(Model().move, calls)("nothing")
    assert calls == ["Model.move"] * 3
    assert for_want_of_it(ImportError("No module named 'sageattention'"))
    assert not for_want_of_it(TypeError("to() got an unexpected keyword: cuda"))


def test_a_word_that_loading_does_not_know_is_a_mistake(reference_folder):
    build = RecordedBuild(str(reference_folder("sd15-tiny")), "cuda", {}, Path())
    build.load["device_mapp"] = "balanced"
    with pytest.raises(TypeError, match="from_pretrained does not know device_mapp"):
        build.load_pipeline()


def test_only_calls_of_ours_are_recorded(reference_folder):
    build = RecordedBuild(str(reference_folder("sd15-tiny")), "cpu", {}, Path())
    build.load_pipeline()
    build.pipe.enable_attention_slicing()
    assert build.calls == []
    build.place()
    assert build.calls == ["DiffusionPipeline.to"]
    assert type(build.pipe).__name__ == "StableDiffusionPipeline"
    assert list(build.denoisers()) == ["unet"]
