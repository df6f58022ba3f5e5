"""The inputs by which a model is quantized."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from search_space.build import Build
from search_space.construct import construct
from search_space.runtimes.calibration import calibration_calls, keep_calibration
from search_space.runtimes.graph import graph_of

CALL = {"prompt": "a horse", "height": 64, "width": 64, "num_inference_steps": 2}
pytestmark = pytest.mark.filterwarnings(
    r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning"
)
IN_INT8 = {"vae_engine": "onnxruntime-int8"}


@pytest.fixture
def constructed(
    reference_folder: Callable[[str], Path], tmp_path: Path
) -> Callable[..., tuple[Build, list[str]]]:
    """A pipeline with a config, and the phases in which it was made."""

    def make(config: dict[str, str], **arguments: Any) -> tuple[Build, list[str]]:
        phases: list[str] = []
        folder, call = str(reference_folder("sd3-tiny")), {**CALL, "output_type": "np", **arguments}
        build = Build(folder, "cpu", call, tmp_path, enter=phases.append)
        construct(build, config)
        return build, phases

    return make


def test_a_decoder_is_calibrated_on_what_the_baseline_gave_it(constructed):
    baseline, _ = constructed({})
    kept: dict[str, list[tuple[Any, Any]]] = {}
    with baseline.recorded_inputs(kept):
        baseline.pipe(**baseline.call)
    assert {name: len(calls) for name, calls in kept.items()} == {"transformer": 2, "vae": 1}
    keep_calibration(baseline, kept)
    _, phases = constructed(IN_INT8)
    assert "quantize" in phases
    assert "calibrate" not in phases


def test_ranges_that_another_call_has_shown_are_not_taken_for_its_own(constructed):
    for arguments in ({}, {"guidance_scale": 1.0}):
        _, phases = constructed(IN_INT8, **arguments)
        assert {"calibrate", "quantize"} <= set(phases)
    _, phases = constructed(IN_INT8)
    assert not {"calibrate", "quantize"} & set(phases)


def test_without_a_baseline_the_inputs_are_the_same_whoever_keeps_them(constructed, tmp_path):
    found = []
    for _ in range(2):
        build, phases = constructed({})
        (entry,) = build.entries("engine")
        graph = graph_of(entry, build.record()[entry.name])
        found.append([tensor for call in calibration_calls(build, graph) for tensor in call])
        assert "calibrate" in phases
        shutil.rmtree(tmp_path / "calibration")
    for first, second in zip(*found, strict=True):
        assert torch.equal(first, second)
