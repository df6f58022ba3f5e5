"""Needs say what they need, and joined ones say it once."""

from __future__ import annotations

import pytest

from search_space.catalog import all_knobs, all_probes
from search_space.config import ALWAYS, packages, probes
from search_space.hardware.detect import PACKAGES
from search_space.knob import nothing
from search_space.needs import device, every, installed, linux, need, not_device, probe

CUDA = device("cuda", what="that kernel")


@need("a single denoiser")
def one_denoiser(context):
    return None if len(context.spec.denoisers) == 1 else "there are several denoisers"


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        (CUDA, "needs cuda"),
        (device("cpu", "cuda"), "needs cpu or cuda"),
        (not_device("mps", "float8 does not exist on mps"), "needs a device other than mps"),
        (installed("xformers", "xformers"), "needs the package xformers (extra: xformers)"),
        (probe("sdpa-flash"), "needs the probe sdpa-flash"),
        (one_denoiser, "needs a single denoiser"),
        (nothing, "needs nothing"),
        (every(), "needs nothing"),
        (every(nothing, CUDA), "needs cuda"),
        (every(CUDA, linux, one_denoiser), "needs cuda, Linux and a single denoiser"),
        (every(CUDA, every(linux, CUDA)), "needs cuda and Linux"),
    ],
)
def test_a_need_is_a_sentence_with_its_parameters_and_without_repeats(declared, sentence):
    assert declared.sentence == sentence


def test_a_need_gives_none_or_the_reason(describe):
    assert CUDA(describe("cuda")) is None
    assert CUDA(describe("cpu")) == "that kernel needs cuda; this machine's device is cpu"
    assert one_denoiser(describe("cpu")) is None


def test_of_several_needs_the_first_that_is_missing_answers(describe):
    both = every(linux, every(CUDA, not_device("cpu", "a CPU is too slow for this")))
    assert both(describe("cuda")) is None
    assert both.unmet(describe("cuda")) is None
    assert both(describe("cpu")) == CUDA(describe("cpu"))
    assert both.unmet(describe("cpu")) is CUDA


def test_two_needs_in_the_same_words_are_both_looked_at(describe):
    """Here the second stands for one that another file declares with an answer of its own."""
    strict = need("cuda")(lambda context: "there is none at all")
    assert every(CUDA, strict)(describe("cuda")) == "there is none at all"
    assert every(CUDA, strict).sentence == "needs cuda"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"precision": "bf16"}, set()),
        ({"engine": "openvino-int8"}, {"openvino", "nncf"}),
        ({"quantization": "bnb-nf4", "cache": "dual-block-0.08"}, {"bitsandbytes", "cache-dit"}),
        ({"placement": "model-offload"}, {"accelerate"}),
        ({"attention": "flash"}, {"flash-attn"}),
        ({"quantization": "torchao-int8-weights"}, {"torchao"}),
    ],
)
def test_the_packages_of_a_config_are_those_that_its_choices_need(config, expected):
    assert set(packages(config)) - set(ALWAYS) == expected
    assert {"onnxruntime", "onnx"} <= set(packages({"vae_engine": "onnxruntime"}))


def test_every_package_and_probe_of_a_need_is_one_that_is_detected():
    configs = [{knob.name: value} for knob in all_knobs() for value in knob.values[1:]]
    assert {name for config in configs for name in packages(config)} <= {*PACKAGES, "cuda", "rocm"}
    assert {name for config in configs for name in probes(config)} <= set(all_probes())
