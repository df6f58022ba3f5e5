"""``tuner.load`` with real pipelines: what it takes, what it says, and what the pipeline tells."""

from __future__ import annotations

import functools
import inspect
import logging
import time
import warnings
from dataclasses import replace

import numpy
import pytest
import torch

import tuner
from search_space.budget import UNLIMITED
from search_space.catalog import check_known
from search_space.config import Config
from search_space.hardware.detect import detect
from search_space.trial import Measurement, Peak, Trial
from search_space.workload import Workload
from storage import Store
from tuner.deploy.emit import emit
from tuner.loading.coverage import Coverage
from tuner.loading.match import Level
from tuner.loading.tuned_pipeline import Tuned, attach
from tuner.records.tuned import TunedConfig

# Exporters warn of much; pytest would make errors of it, and these a reason to go on to the next.
pytestmark = pytest.mark.filterwarnings("default")
CALL = {"prompt": "a horse", "height": 64, "width": 64, "num_inference_steps": 2}
FIGURES = {"trial": 2, "latency_s": 1.0, "peak_bytes": 2**20, "psnr_db": 42.0}


@functools.cache
def machine():
    return detect("cpu")


@pytest.fixture
def folder(reference_folder, tmp_path):
    """Writes tuned configs of the smallest pipeline below a root."""

    def write(name, config=None, machine=None, size=64, **facts):
        winner = TunedConfig(
            config=Config(config or {}),
            folder=str(reference_folder("sd15-tiny")),
            workload=Workload("a model", height_px=size, width_px=size, steps=2),
            machine=machine or globals()["machine"](),
            tuned=FIGURES,
            baseline=None,
            memory_bytes=None,
            cache_dir=str(tmp_path / "cache"),
            created_at="2026-01-01T00:00:00+00:00",
        )
        return emit(replace(winner, **facts), tmp_path / "tuned" / name)

    return write


def image(pipe, **changes):
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(0)
    return numpy.asarray(pipe(**{**CALL, **changes}, generator=generator).images[0])


def test_an_exact_match_is_loaded_without_a_warning(folder):
    root = folder("a", {"memory_format": "channels_last"}).parent
    folder("b", size=128)
    pipes = []
    load = {"height": 64, "width": 64, "on_mismatch": "raise"}
    assert not ours(told(lambda: pipes.append(tuner.load(root, **load))))
    (pipe,) = pipes
    tuned = pipe.tuned
    assert (tuned.level, tuned.why) == (Level.EXACT, "")
    assert tuned.config == {"memory_format": "channels_last"}
    assert tuned.source == str(root / "a")
    assert (tuned.figures.latency_s, tuned.figures.peak_bytes) == (1.0, 2**20)
    assert tuned.workload.height_px == 64
    assert tuned.covers(height=512, batch_size=3) is None
    assert type(pipe).__name__ == "StableDiffusionPipeline"


def test_the_nearest_size_is_built_for_the_size_that_is_asked_for(folder, caplog):
    caplog.set_level(logging.INFO, "tuner")
    root = folder("a", {"vae_engine": "onnxruntime"}, size=128).parent
    folder("b", size=1024)
    with pytest.warns(UserWarning, match="nearest size: tuned for 128x128, asked for 64x64"):
        pipe = tuner.load(root, height=64, width=64)
    assert pipe.tuned.level is Level.NEAREST_SIZE
    assert [skip.source for skip in pipe.tuned.skipped] == [str(root / "b")]
    assert f"{root / 'a'}: taken, same machine, nearest size" in caplog.text
    # An engine of fixed shapes was exported for the size that was asked for.
    assert image(pipe).shape == (64, 64, 3)
    assert pipe.tuned.covers(height=64, width=64, batch_size=1) is None
    assert "vae_engine=onnxruntime was built for height=64" in pipe.tuned.covers(height=128)
    with (
        pytest.warns(UserWarning, match="a call with height=128 fails"),
        pytest.raises(ValueError, match="was exported for inputs of shape"),
    ):
        image(pipe, height=128)


class Pipeline:
    """Called as a pipeline is; takes no time."""

    def __call__(self, prompt=None, height=None, width=None, num_images_per_prompt=1):
        return prompt


def watched(config, **workload):
    built_for = Workload("a model", height_px=64, width_px=64, **workload)
    coverage = Coverage.of(Config(config), built_for)
    sizes = {"height_px": 64, "width_px": 64}
    facts = (Config(config), None, Level.EXACT, "", "here", (), built_for, "cpu", "here")
    return attach(Pipeline(), Tuned(*facts, coverage, sizes))


def told(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(each.message) for each in caught]


def ours(sentences):
    return [sentence for sentence in sentences if "tune run" in sentence]


def test_a_call_outside_warns_once_where_it_compiles_again():
    pipe = watched({"engine": "compile-default"})
    assert told(lambda: pipe("a horse", height=64)) == told(lambda: pipe("a horse")) == []
    (sentence,) = told(lambda: pipe("a horse", 128))
    assert sentence == pipe.tuned.covers(height=128)
    assert told(lambda: pipe("a horse", 128)) == []
    assert len(told(lambda: pipe(["a horse"] * 2))) == 1
    assert len(told(lambda: pipe("a horse", num_images_per_prompt=3))) == 1
    assert type(pipe) is type(watched({"engine": "compile-default"}))
    assert isinstance(pipe, Pipeline)
    assert list(inspect.signature(pipe.__call__).parameters)[:2] == ["prompt", "height"]


def test_a_call_that_fails_is_told_each_time():
    pipe = watched({"engine": "onnxruntime"})
    assert len(told(lambda: pipe("a horse", 128))) == len(told(lambda: pipe("a horse", 128))) == 1
    with pytest.raises(TypeError, match="unexpected keyword argument 'wrong'"):
        pipe(wrong=1)


def test_a_pipeline_without_limits_stays_of_its_class():
    assert type(watched({"precision": "bf16"})) is Pipeline


def test_a_call_is_hardly_slower_for_being_looked_at():
    pipe = watched({"engine": "compile-default"})
    began_s = time.process_time()
    for _ in range(1000):
        pipe("a horse", height=64, width=64)
    # 0.5 % of the fastest call that was ever measured here, 40 ms.
    assert (time.process_time() - began_s) / 1000 < 0.005 * 0.04


def test_a_config_of_another_device_falls_back_with_the_reason(folder):
    elsewhere = replace(machine(), device="cuda", device_name="a described GPU")
    root = folder("a", {"precision": "fp16", "placement": "model-offload"}, elsewhere)
    with pytest.warns(UserWarning, match="this is the default of diffusers, as placement=model"):
        pipe = tuner.load(root)
    tuned = pipe.tuned
    assert (tuned.level, tuned.figures, tuned.config) == (Level.DEFAULT, None, {})
    assert tuned.device == "cpu"
    assert "moves models between host and device" in tuned.skipped[0].reason
    assert image(pipe).shape == (64, 64, 3)
    with pytest.raises(tuner.UsageError, match=r"another device, whose choices.*say on_mismatch="):
        tuner.load(root, on_mismatch="raise")


def test_a_config_of_another_device_is_used_where_its_choices_are_available(folder):
    elsewhere = replace(machine(), device_name="another CPU")
    config, pipes = {"memory_format": "channels_last"}, []
    root = folder("a", config, elsewhere)
    assert not ours(told(lambda: pipes.append(tuner.load(root, on_mismatch="ignore"))))
    (pipe,) = pipes
    assert pipe.tuned.level is Level.AVAILABLE
    assert pipe.tuned.config == config
    assert pipe.tuned.measured_on == "another CPU"


def test_a_choice_that_is_probed_is_tried_here(folder):
    elsewhere = replace(machine(), device_name="another CPU")
    pipe = tuner.load(folder("a", {"vae_engine": "openvino"}, elsewhere), on_mismatch="ignore")
    assert pipe.tuned.level is Level.AVAILABLE


def test_other_versions_and_too_little_memory_warn(folder):
    packages = {**machine().packages, "diffusers": "0.1"}
    with pytest.warns(UserWarning, match=r"other versions: tuned with diffusers 0\.1, this is"):
        tuner.load(folder("a", machine=replace(machine(), packages=packages)))
    large = {**FIGURES, "peak_bytes": 2**60}
    with pytest.warns(UserWarning, match=r"exact match: needs .* is free now"):
        tuner.load(folder("b", tuned=large))
    with pytest.warns(UserWarning, match="memory= allows"):
        tuner.load(folder("c"), memory=2**19)


def keep(store, model, machine, latencies):
    """Trials as a search has left them: configs and what a call took."""
    workload = Workload(model, height_px=64, width_px=64, steps=2)
    names = ("placement", "memory_format", "precision")
    knobs = {knob.name: list(knob.values) for knob in map(check_known, names)}
    study = store.open_study(machine, workload, UNLIMITED, knobs)
    for config, latency_s in latencies:
        seconds = {"load": (1.0,), "first_call": (latency_s,), "steady": (latency_s,) * 3}
        outcome = Measurement(seconds, (Peak("host", "steady", "kept", 2**20),), {})
        store.add(study, Trial(Config(config), outcome, 1.0, "2026-01-01T00:00:00+00:00"))


def test_a_model_is_looked_up_in_the_store(reference_folder, tmp_path):
    model, url = str(reference_folder("sd15-tiny")), str(tmp_path / "history.db")
    latencies = [
        ({}, 3.0),
        ({"placement": "model-offload"}, 1.0),
        ({"memory_format": "channels_last"}, 2.0),
    ]
    elsewhere = replace(machine(), device="cuda", device_name="a described GPU")
    with Store(url) as store:
        keep(store, model, elsewhere, latencies)
    with pytest.warns(UserWarning, match="trial 3 of the store: another device, whose choices"):
        pipe = tuner.load(model, history=url)
    assert pipe.tuned.config == {"memory_format": "channels_last"}
    assert [skip.source for skip in pipe.tuned.skipped] == ["trial 2 of the store"]
    with Store(url) as store:
        keep(store, model, machine(), [({}, 3.0), ({"precision": "bf16"}, 2.0)])
    pipe = tuner.load(model, history=tuner.History(url), height=64, width=64, on_mismatch="raise")
    assert (pipe.tuned.level, pipe.tuned.config) == (Level.EXACT, {"precision": "bf16"})
    with pytest.raises(tuner.UsageError, match="the store has no trials of"):
        tuner.load("reference:sd15-tiny", history=url)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_mismatch": "stop"}, "on_mismatch='stop' is none of warn, raise, ignore"),
        ({"height": 0}, "height=0 is no size"),
        ({"memory": "much"}, "much"),
        ({"device": "vulkan"}, "vulkan"),
    ],
)
def test_a_slip_is_told(folder, options, message):
    with pytest.raises(tuner.UsageError, match=message):
        tuner.load(folder("a"), **options)


def test_a_root_without_a_tuned_config_says_so(tmp_path):
    with pytest.raises(tuner.UsageError, match="holds no tuned config"):
        tuner.load(tmp_path)
