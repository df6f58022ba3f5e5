"""Placements, which no CPU is offered, by the code that accelerators run, from host to host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch._dynamo.exc import Unsupported
from torch._dynamo.utils import counters

from search_space.build import Build
from search_space.catalog import check_known
from search_space.construct import construct, no_effect
from search_space.knobs.group_offload import hooks_in_blocks
from search_space.space import Space
from search_space.workload import Workload

FAMILIES = ("sd15-tiny", "sdxl-tiny", "sd3-tiny", "flux-tiny", "wan-tiny", "ltx-tiny")
NUM_FRAMES = {"wan-tiny": 5, "ltx-tiny": 9}
STREAMED = "group-offload-leaf-stream"
GROUPED = ("group-offload-block", "group-offload-leaf")
RUNNING = ("model-offload", *GROUPED)
# Can be applied but not called: diffusers asks for ``cpu:0``, and no weight is ever there.
PLACEMENTS = (*RUNNING, "sequential-offload")
ALL = ("model-offload", "sequential-offload", *GROUPED, STREAMED)

pytestmark = pytest.mark.filterwarnings(
    # diffusers 0.42 hands a tensor of torch 2.13 to numpy.array in the scheduler of SD 1.5.
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning",
    # The SDXL pipeline of diffusers 0.42 calls what diffusers 0.42 deprecates.
    "ignore:`upcast_vae` is deprecated:FutureWarning",
)
every_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def build(reference_folder: Callable[[str], Path]) -> Callable[..., Build]:
    """A pipeline built with a placement for a CPU that is called a device."""

    def built(family: str, config: dict[str, str]) -> Build:
        frames = NUM_FRAMES.get(family)
        workload = Workload(family, height_px=64, width_px=64, steps=2, num_frames=frames)
        call = {**workload.call(), "output_type": "np"}
        found = Build(str(reference_folder(family)), "cpu", call, Path())
        construct(found, config).set_progress_bar_config(disable=True)
        return found

    return built


def images(build: Build) -> Any:
    return build.pipe(**build.call, generator=torch.Generator().manual_seed(0))[0]


@pytest.fixture(scope="module")
def untouched(build: Callable[..., Build]) -> Callable[[str], Any]:
    return cache(lambda family: images(build(family, {})))


@every_family
@pytest.mark.parametrize("choice", RUNNING)
def test_a_placement_is_seen_and_changes_no_pixel(choice, family, build, untouched):
    config = {"placement": choice}
    placed = build(family, config)
    assert placed.placed
    for _ in range(2):
        # Model offload takes its hooks away and puts them back after each call.
        np.testing.assert_array_equal(images(placed), untouched(family))
        assert no_effect(placed, config) is None


@every_family
@pytest.mark.parametrize("choice", ALL)
def test_a_placement_that_was_not_applied_is_found_out(choice, family, build):
    assert "had no effect" in no_effect(build(family, {}), {"placement": choice})


@pytest.mark.parametrize("applied", PLACEMENTS)
def test_one_placement_is_not_taken_for_another(applied, build):
    placed = build("sd15-tiny", {"placement": applied})
    seen = [choice for choice in ALL if no_effect(placed, {"placement": choice}) is None]
    assert seen == [applied]


def weights(module: torch.nn.Module, recurse: bool = True) -> Iterator[int]:
    yield from map(id, module.parameters(recurse))
    yield from map(id, module.buffers(recurse))


def brought(model: torch.nn.Module, called: set[torch.nn.Module]) -> set[int]:
    """The weights that come to the device by a hook on something that is called."""
    found: set[int] = set()
    for part in model.modules():
        registry = getattr(part, "_diffusers_hook", None)
        hook = registry and registry.get_hook("group_offloading")
        if hook and hook.group.onload_leader is part and part in called:
            found |= {known for member in hook.group.modules for known in weights(member)}
            found |= {id(weight) for weight in hook.group.parameters or ()}
            found |= {id(weight) for weight in hook.group.buffers or ()}
    return found


@every_family
@pytest.mark.parametrize("choice", GROUPED)
def test_what_computes_has_had_its_weights_brought_to_the_device(choice, family, build):
    # On one device a weight that stays behind is not noticed.
    placed = build(family, {"placement": choice})
    models = [part for part in placed.pipe.components.values() if isinstance(part, torch.nn.Module)]
    called: set[torch.nn.Module] = set()
    for model in models:
        for part in model.modules():
            part.register_forward_pre_hook(lambda part, args: called.add(part))
    images(placed)
    assert called
    for model in models:
        there = brought(model, called)
        computing = [part for part in model.modules() if part in called]
        behind = [type(part) for part in computing if not set(weights(part, False)) <= there]
        assert behind == []


def test_a_cpu_has_no_streams(build):
    with pytest.raises(ValueError, match="requires an onload device whose backend implements stre"):
        build("sd15-tiny", {"placement": STREAMED})


@pytest.mark.parametrize("family", ["sd15-tiny", "sdxl-tiny", "flux-tiny", "wan-tiny", "ltx-tiny"])
def test_blocks_that_are_moved_cannot_be_compiled(family, build, describe):
    # Traced without a compiler: what cannot be traced, no compiler gets to see.
    placed = build(family, {"placement": "group-offload-block"})
    torch._dynamo.reset()
    counters.clear()
    for denoiser in placed.denoisers().values():
        denoiser.compile_repeated_blocks(fullgraph=True, backend="eager")
    if hooks_in_blocks(describe("cuda", family)):
        images(placed)
        assert counters["stats"]["unique_graphs"] > 0
    else:
        with pytest.raises(Unsupported):
            images(placed)


def test_the_hooks_of_model_offload_are_not_traced_anew_with_every_call(build, untouched):
    placed = build("sd15-tiny", {"placement": "model-offload"})
    torch._dynamo.reset()
    counters.clear()
    placed.pipe.unet.compile(backend="eager")
    graphs = set()
    for _ in range(10):
        np.testing.assert_array_equal(images(placed), untouched("sd15-tiny"))
        graphs.add(counters["stats"]["unique_graphs"])
    assert graphs == {1}


def test_where_memory_is_shared_nothing_is_moved(describe):
    for kind in ("cpu", "mps"):
        assert Space(describe(kind)).choices["placement"] == ("device",)
        assert Space(describe(kind)).choices["device_map"] == ("none",)
    assert Space(describe("cuda")).choices["placement"] == ("device", *ALL)
    assert STREAMED not in Space(describe("hpu")).choices["placement"]


def test_models_are_spread_over_several_devices_alone(describe):
    assert Space(describe("cuda", device_count=2)).choices["device_map"] == ("none", "balanced")
    reason = Space(describe("cuda")).reason(check_known("device_map"), "balanced")
    assert reason == "there is one cuda device, nothing to spread models over"


WITHOUT_CUDA_GRAPHS = {
    "eager",
    "compile-regional",
    "compile-default",
    "compile-max-autotune-no-cudagraphs",
}


@pytest.mark.parametrize(
    ("family", "placement", "engines"),
    [
        ("sd15-tiny", "model-offload", WITHOUT_CUDA_GRAPHS),
        ("flux-tiny", "model-offload", WITHOUT_CUDA_GRAPHS),
        ("sd15-tiny", "group-offload-block", {"eager", "compile-regional"}),
        ("flux-tiny", "group-offload-block", {"eager"}),
        ("sd15-tiny", "group-offload-leaf", {"eager"}),
        ("sd15-tiny", STREAMED, {"eager"}),
        ("sd15-tiny", "sequential-offload", {"eager"}),
    ],
)
def test_engines_go_with_the_hooks_that_they_can_run(family, placement, engines, describe):
    space = Space(describe("cuda", family))
    allowed = {
        engine
        for engine in space.choices["engine"]
        if space.clash({"engine": engine, "placement": placement}) is None
    }
    assert allowed == engines
    assert "onnxruntime" in space.choices["engine"]


@pytest.mark.parametrize("placement", ALL)
def test_a_device_map_goes_with_no_other_placement(placement, describe):
    space = Space(describe("cuda", device_count=2))
    assert space.clash({"device_map": "balanced", "placement": placement}) is not None
    assert space.clash({"device_map": "balanced"}) is None
