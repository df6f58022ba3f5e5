"""What is planned, kept and resumed on a GPU, and the quick part of a dry run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import pytest

from search_space.catalog import check_known
from search_space.knob import Context, Tier
from search_space.space import Space
from search_space.workload import Workload
from tests.gpu.ending import OVERDUE, TimeUp, within
from tests.gpu.items import Item, planned, the_rest
from tests.gpu.lab import refusal, stand_in
from tests.gpu.measure import due
from tests.gpu.models import MODELS, STEPS
from tests.gpu.rows import is_done, read
from tests.search_space.choices import is_sentence
from tuner.reference.recipe import make

ROOT = Path(__file__).parents[2]
KINDS = ("cuda", "mps", "xpu", "hpu")
TINY = {"sd15": "sd15-tiny", "sdxl": "sdxl-tiny", "flux-mid": "flux-tiny", "sd3-mid": "sd3-tiny"}


@pytest.fixture(scope="module")
def space_of(describe_machine, reference_spec):
    """What a described device can be given of a model."""

    def space(kind: str, model: str) -> Space:
        call = Workload(model, height_px=1024, width_px=1024, steps=STEPS)
        spec = reference_spec(TINY[model])
        return Space(Context(describe_machine(kind), spec, call, Tier.LOSSY, allow_lossy=True))

    return space


def test_an_nvidia_gpu_can_be_given_all_that_is_planned(space_of):
    items = planned("cuda")
    refused = {item.name: refusal(space_of("cuda", item.model), item.config) for item in items}
    assert {name: reason for name, reason in refused.items() if reason} == {}


@pytest.mark.parametrize(("kind", "model"), list(product(KINDS, MODELS)))
def test_what_another_device_cannot_be_given_has_its_reason(kind, model, space_of):
    space = space_of(kind, model)
    refused = [refusal(space, item.config) for item in planned(kind) if item.model == model]
    assert all(is_sentence(reason) for reason in refused if reason)
    assert None in refused


def test_what_is_asked_for_stands_in_the_plan():
    configs = [(item.model, dict(item.config)) for item in planned("cuda")]
    named = {(model, f"{k}={v}") for model, config in configs for k, v in config.items()}
    kernels = ("cudnn", "flash", "efficient", "math")
    assert named >= {
        *(("sd15", f"engine=compile-{mode}") for mode in ("reduce-overhead", "default")),
        *(("sd15", f"engine=compile-{mode}") for mode in ("regional", "max-autotune")),
        *(("flux-mid", f"attention=native-{name}") for name in kernels),
        *(("sd3-mid", f"attention=sdpa-{name}") for name in kernels),
        *(("sd15", f"quantization={name}") for name in ("torchao-fp8-dynamic", "bnb-nf4")),
        ("sd15", "quantization=torchao-int8-dynamic"),
        ("sd15", "placement=group-offload-leaf-stream"),
        ("sd15", "vae_engine=compile"),
    }
    kinds = [item.kind for item in planned("cuda")]
    assert kinds[:2] == ["tune", "tune"] and {"memory", "loop", "repeat", "neighbour"} <= {*kinds}


def test_items_are_ordered_by_worth_and_have_names_of_their_own():
    for kind in KINDS:
        items = planned(kind)
        assert [item.part for item in items] == sorted(item.part for item in items)
        assert len({item.name for item in items}) == len(items)
        assert all(0 < item.least_s <= item.estimate_s < item.cap_s for item in items)


def test_the_rest_is_every_choice_that_no_row_shows(space_of):
    space = space_of("cuda", "flux-mid")
    shown = {"precision=bf16", "attention=native-flash"}
    left = list(the_rest(space, "flux-mid", shown))
    assert [item.name for item in left if refusal(space, item.config)] == []
    held = {f"{knob}={value}" for item in left for knob, value in item.config.items()}
    available = {
        f"{knob.name}={value}"
        for knob in space.knobs
        for value in knob.values[1:]
        if space.reason(knob, value) is None
    }
    assert available - shown <= held and "attention=native-math" in held
    assert not any("attention=native-flash" in item.name for item in left)


def test_a_stand_in_holds_what_a_cpu_can_be_given(space_of):
    space = space_of("cpu", "sd15")
    config = {"precision": "bf16", "engine": "compile-reduce-overhead", "fused_projections": "on"}
    held = stand_in(space, config)
    assert held == {"precision": "bf16", "fused_projections": "on"}
    assert refusal(space, held) is None and "engine=" in refusal(space, config)


def row(item: Item, **facts: object) -> dict[str, object]:
    return {"item": item.name, "model": item.model, **facts}


def test_what_is_kept_is_not_measured_again_and_what_failed_is_tried_last():
    first, second, third = (
        Item(2, "trial", "sd15", 1.0, {"attention": f"native-{name}"})
        for name in ("flash", "math", "cudnn")
    )
    default = Item(2, "default", "sd15", 1.0)
    items = [default, first, second, third]
    kept = [row(default), row(first, failure="crash: killed"), row(second)]
    assert due(items, kept) == [default, third, first]
    assert due(items, [*kept, row(third), row(first)]) == []
    again = [row(first, **{mark: "a reason"}) for mark in ("stopped", "skipped", "unavailable")]
    assert due([first], again) == [first]


def test_an_item_is_told_once_its_time_is_up_even_if_it_swallows_that():
    began_s = time.monotonic()
    with pytest.raises(TimeUp), within(0.2):
        time.sleep(20.0)
    assert 0.1 < time.monotonic() - began_s < 5.0
    with within(0.2):
        pass
    time.sleep(0.4)


@pytest.mark.heavy
@pytest.mark.parametrize(("name", "millions"), [("flux-mid", 814), ("sd3-mid", 490)])
def test_a_mid_size_pipeline_can_be_made_at_full_width(name, millions):
    recipe = MODELS[name].recipe(False)
    transformer = make(recipe.parts["transformer"])
    assert round(sum(part.numel() for part in transformer.parameters()) / 1e6) == millions
    assert make(recipe.parts["vae"]).config.block_out_channels == (128, 256, 512, 512)


# What stands in for NVML reads the use of the GPU from a file.
STAND_IN = """
from pathlib import Path
from types import SimpleNamespace
def nvmlInit(): pass
def nvmlDeviceGetHandleByIndex(index): return index
def nvmlDeviceGetMemoryInfo(handle):
    return SimpleNamespace(used=Path(__file__).with_name("used").read_text())
"""
# A trial is known by the folder of its log.
TRIAL = "import time; time.sleep(60)"


def test_the_memory_of_a_gpu_is_observed_from_a_process_of_its_own(tmp_path):
    (tmp_path / "pynvml.py").write_text(STAND_IN)
    (tmp_path / "used").write_text("1000")
    (tmp_path / "events.jsonl").write_text('{"phase": "load"}\n')
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    observer = [sys.executable, "-m", "tests.benchmarks.memory_truth", "--observe"]
    with (tmp_path / "log.txt").open("w") as log:
        trial = subprocess.Popen([sys.executable, "-c", TRIAL], stdout=log)
    words = [*observer, str(trial.pid), "--idle", "400"]
    environment = {**os.environ, "PYTHONPATH": path}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as seen:
        try:
            assert json.loads(seen.stdout.readline()) == ["load", 600]
            (tmp_path / "events.jsonl").write_text('{"phase": "steady"}\n')
            (tmp_path / "used").write_text("2400")
            lines = {}
            while lines.get("steady") != 2000:
                phase, size = json.loads(seen.stdout.readline())
                lines[phase] = size
        finally:
            seen.kill()
            trial.kill()
            trial.wait()


def measured(*words: str, minutes: float) -> tuple[subprocess.CompletedProcess[str], float]:
    """What the command prints, and how long it took."""
    began_s = time.monotonic()
    command = [sys.executable, "-m", "tests.gpu.measure", "--minutes", str(minutes), *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    return ended, time.monotonic() - began_s


@pytest.mark.heavy
def test_without_the_device_it_says_so_and_how_to_rehearse():
    ended, _ = measured("--device", "xpu", minutes=2.0)
    assert ended.returncode == 1 and ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("the device 'xpu' cannot be used: ")
    assert "--dry-run rehearses on a CPU" in ended.stderr


def test_whatever_it_is_at_it_ends_in_time(tmp_path):
    ended, spent_s = measured("--dry-run", "--keep", str(tmp_path), minutes=0.05)
    assert ended.returncode == OVERDUE
    assert spent_s < 60.0


@pytest.mark.heavy
def test_a_dry_run_measures_what_fits_keeps_it_and_goes_on(tmp_path):
    words = ("--dry-run", "--part", "2", "--model", "sd15", "--keep", str(tmp_path))
    ended, spent_s = measured(*words, minutes=2.0)
    assert ended.returncode == 0, ended.stderr
    assert spent_s < 120.0
    (first,) = read(tmp_path)
    ends = [row["item"] for row in first.rows if "item" in row]
    assert first.dry and len(ends) == len(set(ends))
    assert {"steady_s"} <= {key for row in first.rows for key in row}
    assert [row for row in first.rows if "failure" in row] == []
    assert [row["within"] for row in first.rows if "not_available" in row] == ["default sd15"]
    ended, _ = measured(*words, minutes=0.75)
    assert ended.returncode == 0, ended.stderr
    done = {row["item"] for row in first.rows if is_done(row) and row["kind"] == "trial"}
    _, second = read(tmp_path)
    assert done and not done & {row.get("item") for row in second.rows}


@pytest.mark.long
@pytest.mark.timeout(2000)
def test_a_whole_dry_run_has_something_of_every_part_and_nothing_fails(tmp_path):
    ended, spent_s = measured("--dry-run", "--keep", str(tmp_path), minutes=25.0)
    assert ended.returncode == 0, ended.stderr
    assert spent_s < 25.0 * 60.0
    (session,) = read(tmp_path)
    assert [row for row in session.rows if "failure" in row or "unavailable" in row] == []
    kinds = {row["kind"] for row in session.rows if is_done(row)}
    assert kinds == {"build", "tune", "load", "default", "trial", "memory", "loop", "repeat"} | {
        "neighbour"
    }
    for row in session.rows:
        for name, value in row.get("config", {}).items():
            check_known(name, value)
