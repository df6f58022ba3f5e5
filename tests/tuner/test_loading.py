"""Which stored config is taken: on described machines, and down the whole chain."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from search_space.config import Config
from search_space.errors import UsageError
from search_space.shapes import Shapes
from tests.machines import GIB, described
from tests.tuner.simulation import context
from tests.tuner.test_emit import tuned
from tuner.loading.candidates import tuned_folders, usable
from tuner.loading.chain import descend
from tuner.loading.coverage import Coverage
from tuner.loading.here import unavailable
from tuner.loading.match import Candidate, Here, Level, Wish, ordered

CUDA, CPU = described("cuda"), described("cpu")
ANY = Wish()
HERE = {"cuda": Here(CUDA, 60 * GIB), "cpu": Here(CPU, 60 * GIB)}


def stored(source="tuned/a", machine=CUDA, size=512, config=None, **facts):
    winner = tuned(config or {"precision": "bf16"})
    workload = replace(winner.workload, height_px=size, width_px=size)
    return Candidate(source, replace(winner, machine=machine, workload=workload, **facts))


def best(*candidates, here=HERE, wish=ANY, device=None):
    return ordered(candidates, here, wish, device)[0]


def test_what_was_tuned_here_in_this_size_is_an_exact_match():
    match = best(stored(), wish=Wish(512, 512))
    assert (match.level, match.is_exact, match.why) == (Level.EXACT, True, "")
    assert best(stored()).is_exact


@pytest.mark.parametrize(
    ("machine", "level", "reason"),
    [
        ({"cores": 4}, Level.OTHER_MACHINE, "tuned on 4 cores, this has 8"),
        ({"system": "Windows AMD64"}, Level.OTHER_MACHINE, "tuned on Windows AMD64, this is Linux"),
        ({"device_bytes": 80 * GIB}, Level.OTHER_MACHINE, "tuned with 80.00 GiB of memory"),
        ({"device_bytes": 64 * GIB + 9}, Level.EXACT, ""),
        ({"host_bytes": 2 * GIB, "threads": 3}, Level.EXACT, ""),
        ({"device_name": "another GPU"}, Level.AVAILABLE, "tuned on another GPU (cuda), this is a"),
        ({"device": "xpu"}, Level.AVAILABLE, "(xpu), this is"),
    ],
)
def test_the_hardware_is_compared(machine, level, reason):
    match = best(stored(machine=replace(CUDA, **machine)))
    assert match.level is level
    assert reason in match.why


@pytest.mark.parametrize(
    ("config", "package"),
    [
        ({}, "torch"),
        ({}, "diffusers"),
        ({}, "transformers"),
        ({"engine": "openvino"}, "openvino"),
        ({"engine": "openvino-int8"}, "nncf"),
        ({"quantization": "torchao-int8-weights"}, "torchao"),
        ({"quantization": "bnb-nf4"}, "bitsandbytes"),
        ({"cache": "dual-block-0.08"}, "cache-dit"),
        ({"attention": "xformers"}, "xformers"),
        ({"engine": "onnxruntime"}, "onnxruntime"),
        ({"vae_engine": "onnxruntime"}, "onnx"),
    ],
)
def test_every_package_that_the_config_uses_is_compared_and_no_other(config, package):
    older = replace(CUDA, packages={**CUDA.packages, package: "0.9"})
    match = best(stored(machine=older, config=config))
    assert match.level is Level.OTHER_VERSIONS
    assert match.why == f"tuned with {package} 0.9, this is 1.0"
    if config:
        assert best(stored(machine=older, config={"precision": "bf16"})).is_exact
    gone = {name: version for name, version in CUDA.packages.items() if name != package}
    here = {"cuda": Here(replace(CUDA, packages=gone), 60 * GIB)}
    assert best(stored(config=config), here=here).missing == f"{package} is not installed here"


def test_the_nearest_size_is_taken():
    sizes = [stored(str(size), size=size) for size in (256, 512, 1024)]
    taken = {size: best(*sizes, wish=Wish(size, size)) for size in (512, 576, 300, 2048)}
    assert {size: match.candidate.source for size, match in taken.items()} == {
        512: "512",
        576: "512",
        300: "256",
        2048: "1024",
    }
    assert taken[512].is_exact
    assert taken[576].level is Level.NEAREST_SIZE
    assert taken[576].why == "tuned for 512x512, asked for 576x576"


def test_without_a_size_the_newest_is_taken():
    old = stored("old", size=1024, created_at="2026-01-01", speedup=9.0)
    new = stored("new", size=256, created_at="2026-02-01", speedup=1.1)
    assert best(old, new).candidate.source == "new"


def test_levels_come_in_order_and_the_device_that_was_tuned_is_the_one_that_is_used():
    candidates = [
        stored("another device", replace(CUDA, device_name="another GPU")),
        stored("another machine", replace(CUDA, cores=99)),
        stored("other versions", replace(CUDA, packages={"torch": "0.9"})),
        stored("another size", size=768),
        stored("on the cpu", CPU),
        stored("exact"),
    ]
    matches = ordered(candidates, HERE, Wish(512, 512))
    sources = [match.candidate.source for match in matches]
    assert sources[:2] == ["exact", "on the cpu"]
    assert sources[2:] == [match.source for match in reversed(candidates[:4])]
    assert [match.device for match in matches][:3] == ["cuda", "cpu", "cuda"]
    assert best(*candidates, wish=Wish(512, 512), device="cpu").candidate.source == "on the cpu"


def test_where_the_device_is_not_here_the_best_that_is_stands_in():
    match = best(stored(), here={"cpu": HERE["cpu"]})
    assert (match.level, match.device) == (Level.AVAILABLE, "cpu")


def test_what_does_not_fit_the_memory_comes_last_and_the_smallest_of_it_first():
    sizes = {
        name: stored(name, tuned={"trial": 1, "peak_bytes": gib * GIB}, machine=machine)
        for name, gib, machine in (
            ("large", 40, CUDA),
            ("larger", 50, CUDA),
            ("small", 2, replace(CUDA, cores=2)),
        )
    }
    here = {"cuda": Here(CUDA, 30 * GIB)}
    matches = ordered(tuple(sizes.values()), here, Wish())
    assert [match.candidate.source for match in matches] == ["small", "large", "larger"]
    assert matches[1].why == "needs 40.00 GiB, 30.00 GiB is free now"
    assert not matches[1].is_exact
    asked = ordered(tuple(sizes.values()), HERE, Wish(memory_bytes=GIB))
    assert asked[0].too_large == "needs 2.00 GiB, memory= allows 1.00 GiB"


def chain(candidates, here=HERE, unavailable=lambda match: None, broken=()):
    def build(match):
        if match.candidate.source in broken:
            raise RuntimeError("it\ncannot")
        return match.candidate.source

    return descend(ordered(candidates, here, ANY), unavailable, build, lambda: "default")


def test_the_chain_goes_down_with_a_line_for_each_step(caplog):
    caplog.set_level(logging.INFO, "tuner")
    other = replace(CUDA, device_name="another GPU")
    packages = {name: "1.0" for name in CUDA.packages if name != "sageattention"}
    here = {"cuda": Here(replace(CUDA, packages=packages), 60 * GIB)}
    candidates = [
        stored("broken"),
        stored("foreign", other),
        stored("uninstalled", config={"attention": "sage"}),
    ]
    taken = chain(candidates, here, lambda match: "no tensor cores", {"broken"})
    assert (taken.pipe, taken.match) == ("default", None)
    assert [skip.source for skip in taken.skipped] == ["broken", "foreign", "uninstalled"]
    assert [record.getMessage() for record in caplog.records] == [
        "broken: not taken: it cannot be built (RuntimeError: it cannot)",
        "foreign: not taken: no tensor cores",
        "uninstalled: not taken: sageattention is not installed here",
        "the default of diffusers is taken: no stored config can be had here",
    ]
    caplog.clear()
    taken = chain(candidates, here, broken={"broken"})
    assert taken.pipe == "foreign"
    assert "foreign: taken, another device, whose choices" in caplog.records[-1].getMessage()
    assert "this is a described cuda device" in caplog.records[-1].getMessage()


def test_the_choices_of_the_same_device_are_not_asked_for():
    def asked(match):
        raise RuntimeError("the model cannot be read")

    assert chain([stored()], unavailable=asked).pipe == "tuned/a"
    foreign = stored(machine=replace(CUDA, device_name="another GPU"))
    taken = chain([foreign], unavailable=asked)
    assert taken.pipe == "default"
    assert "the model cannot be read" in taken.skipped[0].reason


def test_a_config_of_another_device_is_asked_of_the_space_of_this_one():
    here = context("cpu")
    machine = described("cpu", native_dtypes=("fp32",))
    assert unavailable(Config({"memory_format": "channels_last"}), here) is None
    reason = unavailable(Config({"placement": "model-offload"}), replace(here, machine=machine))
    assert "placement=model-offload is not available here" in reason
    clash = unavailable(Config({"precision": "bf16", "engine": "onnxruntime"}), here)
    assert "exclude each other" in clash


def test_a_root_gives_its_tuned_folders_and_not_the_parts_of_models(tmp_path):
    for name in ("b/512", "a", ".tuned-host-1-0f"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "model" / "unet").mkdir(parents=True)
    (tmp_path / "model" / "model_index.json").write_text("{}")
    (tmp_path / "model" / "unet" / "config.json").write_text("{}")
    assert tuned_folders(tmp_path) == (tmp_path / "a", tmp_path / "b/512")
    assert tuned_folders(tmp_path / "a") == (tmp_path / "a",)


def test_what_cannot_be_read_is_passed_over_where_there_is_something_else():
    def damaged():
        raise UsageError("it is damaged")

    candidates, skipped = usable([("a", damaged), ("b", lambda: tuned({}))])
    assert [each.source for each in candidates] == ["b"]
    assert [(each.source, each.reason) for each in skipped] == [("a", "it is damaged")]
    with pytest.raises(UsageError, match="it is damaged"):
        usable([("a", damaged)])


def coverage(config, **workload):
    asked = replace(tuned({}).workload, height_px=512, width_px=768, **workload)
    return Coverage.of(Config(config), asked)


@pytest.mark.parametrize(
    ("config", "call", "kind"),
    [
        ({"precision": "bf16"}, {"height": 64, "batch_size": 9}, None),
        ({"engine": "compile-default"}, {"height": 512, "width": 768, "batch_size": 1}, None),
        ({"engine": "compile-default"}, {"height": 64}, Shapes.RECOMPILED),
        ({"engine": "compile-default"}, {"batch_size": 2}, Shapes.RECOMPILED),
        ({"engine": "onnxruntime"}, {"width": 64}, Shapes.FIXED),
        ({"vae_engine": "openvino"}, {"width": 64}, Shapes.FIXED),
        ({"text_encoder_engine": "openvino"}, {"width": 64}, None),
        ({"text_encoder_engine": "openvino"}, {"batch_size": 2}, Shapes.FIXED),
        (
            {"text_encoder_engine": "compile", "vae_engine": "onnxruntime"},
            {"batch_size": 2},
            Shapes.FIXED,
        ),
    ],
)
def test_what_a_call_of_another_size_or_batch_does(config, call, kind):
    beyond = coverage(config).beyond(**call)
    assert (beyond and beyond[0]) == kind


def test_the_sentence_names_the_call_the_choice_and_what_it_was_built_for():
    compiled = coverage({"engine": "compile-default", "batch": "times-2"}, batch_size=1)
    assert compiled.beyond(height=64, batch_size=1)[1] == (
        "a call with height=64, batch_size=1 compiles again, which takes time: "
        "engine=compile-default was built for height=512, batch_size=2"
    )
    exported = coverage({"engine": "onnxruntime"})
    assert exported.beyond(height=64)[1].startswith(
        "a call with height=64 fails: engine=onnxruntime was built for height=512"
    )
