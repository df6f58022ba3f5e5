from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from search_space.build import Build
from search_space.catalog import all_knobs, all_probes
from search_space.construct import construct, no_effect
from search_space.hardware.detect import int8_saturates
from search_space.knob import Tier
from search_space.knobs.quantization import quantizable
from search_space.space import Space
from tuner.measuring.fidelity.metrics import images_of, noise_in_float32, psnr_db

FAMILIES = ("sd15-tiny", "sdxl-tiny", "sd3-tiny", "flux-tiny", "wan-tiny", "ltx-tiny")
NUM_FRAMES = {"wan-tiny": 5, "ltx-tiny": 9}
CALL = {"prompt": "a horse", "height": 64, "width": 64, "num_inference_steps": 2}
LEAST_DB = {
    "torchao-int8-weights": 40,
    "torchao-int8-dynamic": 25,
    "torchao-fp8-weights": 25,
    "bnb-int8": 25,
    # Random weights are the worst for 4 bits.
    "bnb-nf4": 15,
}

# diffusers 0.42 hands a tensor to numpy.array in EulerDiscreteScheduler.set_timesteps.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def make(
    reference_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Build]:
    """Builds a config; skips where its package is not installed."""
    cache_dir = tmp_path_factory.mktemp("exports")

    def built(family: str, config: dict[str, str]) -> Build:
        quantization = config.get("quantization", "")
        if quantization:
            pytest.importorskip("torchao" if "torchao" in quantization else "bitsandbytes")
        frames = {"num_frames": NUM_FRAMES[family]} if family in NUM_FRAMES else {}
        call = {**CALL, **frames, "output_type": "np"}
        build = Build(str(reference_folder(family)), "cpu", call, cache_dir)
        construct(build, config).set_progress_bar_config(disable=True)
        return build

    return built


def generate(build: Build) -> np.ndarray:
    with noise_in_float32(build.pipe):
        return images_of(build.pipe(**build.call, generator=torch.Generator().manual_seed(0)))


def effect_of(value: str, build: Build) -> str | None:
    knob = next(knob for knob in all_knobs() if knob.name == "quantization")
    return knob.choice(value).effect(build, value)


@pytest.fixture(scope="module")
def baseline(make: Callable[..., Build]) -> dict[str, np.ndarray]:
    return {family: generate(make(family, {})) for family in FAMILIES}


@pytest.mark.parametrize("value", LEAST_DB)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_quantized(family, value, make, baseline):
    if reason := all_probes()["bnb-int8"]("cpu", 64) if value == "bnb-int8" else None:
        pytest.skip(reason)
    config = {"quantization": value}
    build = make(family, config)
    images = generate(build)
    assert no_effect(build, config) is None
    assert LEAST_DB[value] <= psnr_db(images, baseline[family]) < 60


def test_an_unquantized_layer_is_found_out(make):
    build = make("sd3-tiny", {"quantization": "torchao-int8-weights"})
    transformer = build.pipe.transformer
    assert effect_of("torchao-int8-weights", build) is None
    assert "linear layers are not quantized" in effect_of("torchao-int8-dynamic", build)
    assert "linear layers are not quantized" in effect_of("torchao-fp8-weights", build)
    before = transformer.proj_out
    transformer.proj_out = torch.nn.Linear(before.in_features, before.out_features)
    seen = effect_of("torchao-int8-weights", build)
    assert seen.startswith("1 of ") and seen.endswith("linear layers are not quantized")


def test_another_dtype_does_not_undo_the_quantization(make):
    # torchao keeps its int8 whatever Module.to is asked for; the effect must look at the class.
    build = make("sd15-tiny", {"quantization": "torchao-int8-weights"})
    weight = build.pipe.unet.time_embedding.linear_1.weight
    build.pipe.unet.to(torch.bfloat16)
    assert weight.qdata.dtype == torch.int8
    assert effect_of("torchao-int8-weights", build) is None


def test_a_quantized_model_has_the_precision_that_it_computes_in(make):
    config = {"precision": "bf16", "quantization": "torchao-int8-weights"}
    build = make("flux-tiny", config)
    assert no_effect(build, config) is None
    assert build.pipe.transformer.dtype == torch.bfloat16
    assert build.pipe.transformer.proj_out.weight.qdata.dtype == torch.int8


def test_layers_are_left_out_that_gain_nothing_or_suffer(make):
    transformer = make("wan-tiny", {}).pipe.transformer

    def chosen(value: str) -> set[str]:
        holds = quantizable(transformer, value)
        return {name for name, layer in transformer.named_modules() if holds(layer, name)}

    weights, dynamic = chosen("torchao-int8-weights"), chosen("torchao-int8-dynamic")
    assert "blocks.0.attn1.to_q" in dynamic < weights
    assert "condition_embedder.time_proj" in weights - dynamic
    # Wan keeps this one in fp32.
    assert "condition_embedder.time_embedder.linear_1" not in weights


def test_what_is_too_narrow_for_groups_is_told(make):
    build = make("sd3-tiny", {})
    for layer in build.pipe.transformer.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.in_features = 127
    assert effect_of("torchao-int4-weights", build) == (
        "no linear layer has the sizes that can be quantized"
    )


@pytest.mark.parametrize("value", ["torchao-fp8-dynamic", "torchao-int4-weights"])
def test_products_that_a_cpu_does_not_have_are_for_accelerators(value, describe):
    seen = all_probes()[value]("cpu", 64)
    assert seen == f"{value} needs cuda or xpu, this machine's device is cpu"
    assert value not in Space(describe("cpu")).choices["quantization"]
    for kind in ("cuda", "xpu"):
        broken = describe(kind, probes={value: "the kernel is not there"})
        knob = next(knob for knob in all_knobs() if knob.name == "quantization")
        assert knob.choice(value).need(describe(kind)) is None
        assert knob.choice(value).need(broken) == "the kernel is not there"
        clash = Space(describe(kind)).clash({"quantization": value})
        assert clash.endswith("its kernels multiply with bf16 alone")


def test_bitsandbytes_is_offered_in_int8_where_sums_do_not_saturate(describe):
    if not int8_saturates("cpu"):
        assert all_probes()["bnb-int8"]("cpu", 64) is None
    saturates = describe(probes={"bitsandbytes": None, "bnb-int8": "sums saturate here"})
    offered = Space(saturates).choices["quantization"]
    assert "bnb-nf4" in Space(replace(saturates, quality=Tier.LOSSY)).choices["quantization"]
    assert "bnb-int8" not in offered
    assert "bnb-int8" in Space(describe()).choices["quantization"]


def test_the_packages_are_asked_for_by_their_extras(describe):
    bare = describe("cuda", packages={})
    knob = next(knob for knob in all_knobs() if knob.name == "quantization")
    for value in knob.values[1:]:
        package, extra = (
            ("torchao", "quantization") if "torchao" in value else ("bitsandbytes", "bitsandbytes")
        )
        assert knob.choice(value).need(bare) == (
            f"{package} is not installed: pip install 'diffusers-autotune[{extra}]'"
        )


@pytest.mark.parametrize("other", [{"engine": "onnxruntime"}, {"engine": "openvino"}])
def test_what_is_quantized_stays_in_pytorch(other, describe):
    space = Space(describe())
    assert space.clash({"quantization": "torchao-int8-weights", **other})
    assert (
        space.clash({"quantization": "torchao-int8-dynamic", "engine": "compile-default"}) is None
    )


def test_weights_are_not_stored_in_few_bits_twice(describe):
    config = {"quantization": "torchao-int8-weights", "layerwise_casting": "fp8-e4m3"}
    assert "the weights are stored in few bits already" in Space(describe()).clash(config)
