"""A new optimization is one new file, which everything else picks up."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy
import pytest

from search_space import config as config_module
from search_space import knobs
from search_space.build import Build
from search_space.catalog import all_knobs, all_probes
from search_space.config import completed, steps
from search_space.errors import UsageError
from search_space.knob import Tier
from search_space.space import Space
from search_space.trial import Measurement, too_far
from search_space.workload import Workload
from tests.tuner.drawing import drawn
from tuner.measuring.fidelity.compare import InvalidOutput, fidelity_of
from tuner.measuring.fidelity.outputs import Output, Reference
from tuner.records.job import Job
from tuner.report.knobs import all_choices, knobs_json, knobs_text

NEW_KNOB = '''
"""A knob of a test."""

from __future__ import annotations

from search_space.build import Build
from search_space.knob import Choice, Conflict, Stage, Tier, knob
from search_space.needs import device


def sparkle_effect(build: Build, choice: str) -> str | None:
    """Seen in what the knob left behind."""
    return None if build.evidence.get("sparkle") == choice else "nothing sparkles"


@knob(
    Stage.FUSE,
    choices=(
        Choice("off"),
        Choice("on", tier=Tier.NEAR, another_image=True),
        Choice("on-cuda", need=device("cuda", what="more sparkle")),
    ),
    conflicts=(Conflict("precision", ("fp16",), "half a number does not sparkle"),),
    effect=sparkle_effect,
    probes={"sparkles": lambda device, head_size: None},
    run_on=("cpu",),
)
def sparkle(build: Build, choice: str) -> None:
    """Pixels that sparkle."""
    build.evidence["sparkle"] = choice
'''
MORE_ENGINES = '''
"""An engine of a test."""

from __future__ import annotations

from search_space.build import Build
from search_space.knob import Choice, Tier, more_choices


@more_choices(
    "engine",
    choices=(Choice("steam", tier=Tier.LOSSLESS),),
    effect=lambda build, choice: "there is no steam",
)
def steam(build: Build, choice: str) -> None:
    """The denoiser by steam."""
'''


@pytest.fixture
def two_new_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    files = {"sparkle": NEW_KNOB, "steam": MORE_ENGINES}
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(knobs, "__path__", [*knobs.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    forget_knobs()
    yield
    forget_knobs()
    for name in files:
        sys.modules.pop(f"{knobs.__name__}.{name}", None)
        vars(knobs).pop(name, None)


def forget_knobs() -> None:
    all_knobs.cache_clear()
    config_module._first_choices.cache_clear()


@pytest.mark.usefixtures("two_new_files")
def test_a_new_file_is_a_knob_of_the_space(describe):
    found = {knob.name: knob for knob in all_knobs()}
    assert found["sparkle"].doc == "Pixels that sparkle."
    assert found["sparkle"].values == ("off", "on", "on-cuda")
    assert Space(describe()).choices["sparkle"] == ("off", "on")
    assert Space(describe("cuda")).choices["sparkle"] == ("off", "on", "on-cuda")
    assert completed({})["sparkle"] == "off"
    assert "sparkles" in all_probes()


@pytest.mark.usefixtures("two_new_files")
def test_a_new_knob_acts_at_its_stage_and_keeps_its_conflicts(describe):
    config = {"engine": "steam", "sparkle": "on", "precision": "bf16"}
    assert [step.name for step in steps(config)] == ["precision", "sparkle", "engine"]
    space = Space(describe())
    assert space.holds(config)
    assert space.clash({"sparkle": "on", "precision": "fp16"}) == (
        "sparkle=on does not go with precision=fp16: half a number does not sparkle"
    )


@pytest.mark.usefixtures("two_new_files")
def test_a_new_file_can_add_choices_to_a_knob_of_another(describe):
    engine = next(knob for knob in all_knobs() if knob.name == "engine")
    assert engine.values[0] == "eager"
    assert "steam" in engine.values
    assert "steam" in Space(describe()).choices["engine"]


@pytest.mark.usefixtures("two_new_files")
def test_a_new_knob_is_listed_with_its_choices_and_reasons(describe):
    space = Space(describe())
    listed = next(knob for knob in knobs_json(space) if knob["name"] == "sparkle")
    assert listed["doc"] == "Pixels that sparkle."
    assert [choice["available"] for choice in listed["choices"]] == [True, True, False]
    assert listed["choices"][1]["tier"] == "near"
    reason = "more sparkle needs cuda; this machine's device is cpu"
    assert listed["choices"][2]["reason"] == reason
    assert f"on-cuda  exact  no   {reason}\n" in drawn(all_choices(space))
    (row,) = [line for line in drawn(knobs_text(space)).splitlines() if "off, on (near)" in line]
    assert row.startswith("sparkle ")


def test_without_the_files_the_knob_is_unknown(describe):
    assert "sparkle" not in Space(describe()).choices
    with pytest.raises(UsageError, match="there is no choice of engine 'steam'"):
        steps({"engine": "steam"})


def test_another_image_by_design_is_valid_and_not_compared(two_new_files, tmp_path):
    random = numpy.random.default_rng(0)
    one, other = (random.random((1, 16, 16, 3)).astype(numpy.float32) for _ in range(2))
    path = tmp_path / "reference.npz"
    Reference((Output(one),), {}).write(path)
    job = Job(Workload("model"), "", "cpu", {}, "", reference=str(path))
    build = Build("", "cpu", {}, tmp_path)
    with pytest.raises(InvalidOutput, match="another one"):
        fidelity_of(build, job, Output(other), can_win=False)
    by_design = replace(job, config={"sparkle": "on"})
    assert fidelity_of(build, by_design, Output(other), can_win=False) == {}
    with pytest.raises(InvalidOutput, match="one constant colour"):
        fidelity_of(build, by_design, Output(0 * other), can_win=False)
    assert too_far(Measurement({"steady": (1.0,)}, ()), Tier.EXACT) is None
