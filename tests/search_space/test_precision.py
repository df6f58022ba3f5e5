from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from search_space.build import Build, Entry
from search_space.catalog import all_knobs
from search_space.construct import construct, no_effect
from search_space.knobs.float32_matmul import rounds_to_bf16
from search_space.runtimes.graph import release_weights
from search_space.space import Space
from tuner.measuring.fidelity.metrics import images_of, noise_in_float32, psnr_db

FAMILIES = ("sd15-tiny", "sdxl-tiny", "sd3-tiny", "flux-tiny", "wan-tiny", "ltx-tiny")
NUM_FRAMES = {"wan-tiny": 5, "ltx-tiny": 9}
CALL = {"prompt": "a horse", "height": 64, "width": 64, "num_inference_steps": 2}

# diffusers 0.42 hands a tensor to numpy.array in EulerDiscreteScheduler.set_timesteps, and calls
# what it deprecates where it widens the VAE of SDXL.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`upcast_vae` is deprecated:FutureWarning"),
]


@pytest.fixture(scope="module")
def make(
    reference_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Build]:
    """Builds a config."""
    cache_dir = tmp_path_factory.mktemp("exports")

    def built(family: str, config: dict[str, str]) -> Build:
        frames = {"num_frames": NUM_FRAMES[family]} if family in NUM_FRAMES else {}
        call = {**CALL, **frames, "output_type": "np"}
        build = Build(str(reference_folder(family)), "cpu", call, cache_dir)
        construct(build, config).set_progress_bar_config(disable=True)
        return build

    return built


def generate(build: Build) -> np.ndarray:
    with noise_in_float32(build.pipe):
        return images_of(build.pipe(**build.call, generator=torch.Generator().manual_seed(0)))


def effect_of(name: str, value: str, build: Build) -> str | None:
    choice = next(knob for knob in all_knobs() if knob.name == name).choice(value)
    return choice.effect(build, value)


def dtypes(model: Any) -> set[torch.dtype]:
    return {weight.dtype for weight in model.parameters()}


def test_a_text_encoder_that_stayed_in_fp32_is_found_out(make):
    build = make("sd15-tiny", {"precision": "fp16"})
    assert effect_of("precision", "fp16", build) is None
    build.pipe.text_encoder.to(torch.float32)
    assert effect_of("precision", "fp16", build) == "the weights of text_encoder are float32"


def test_parts_that_a_model_keeps_in_fp32_are_not_held_against_it(make):
    build = make("wan-tiny", {"precision": "fp16"})
    assert dtypes(build.pipe.transformer) == {torch.float16, torch.float32}
    assert dtypes(build.pipe.text_encoder) == {torch.float16, torch.float32}
    assert effect_of("precision", "fp16", build) is None
    # What is left of the Linear layers is too little to outweigh the parts in fp32.
    for name, weight in build.pipe.transformer.named_parameters():
        if weight.dtype == torch.float16 and "to_q" not in name:
            weight.data = weight.data.to(torch.float8_e4m3fn)
    assert effect_of("precision", "fp16", build) is None


def test_released_and_quantized_weights_do_not_confuse_the_precision(make):
    build = make("sd15-tiny", {"precision": "bf16"})
    release_weights(Entry("unet", build.pipe.unet, "forward"))
    assert effect_of("precision", "bf16", build) is None
    assert effect_of("precision", "fp16", build) == "the weights of unet are bfloat16"
    for weight in build.pipe.text_encoder.parameters():
        weight.requires_grad_(False).data = weight.data.to(torch.int8)
    assert effect_of("precision", "bf16", build) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_decodes_in_fp32_what_was_made_in_bf16(family, make):
    config = {"precision": "bf16", "vae_precision": "fp32"}
    build = make(family, config)
    exact = make(family, {})
    assert psnr_db(generate(build), generate(exact)) > 30
    assert no_effect(build, config) is None
    assert dtypes(build.pipe.vae) == {torch.float32}
    of_the_file = exact.pipe.vae.state_dict()
    for name, weight in build.pipe.vae.state_dict().items():
        assert torch.equal(weight, of_the_file[name])


def test_a_vae_with_a_precision_of_its_own_still_slices_and_tiles(make):
    config = {"vae_precision": "bf16", "vae_slicing": "on", "vae_tiling": "on"}
    build = make("sd15-tiny", config)
    build.call |= {"prompt": ["a horse", "a dog"], "height": 144, "width": 144}
    decoded = []
    build.pipe.vae.decoder.register_forward_hook(lambda *call: decoded.append(call[2].shape))
    assert generate(build).shape == (2, 144, 144, 3)
    assert no_effect(build, config) is None
    assert {shape[0] for shape in decoded} == {1} and len(decoded) > 2


def test_a_pipeline_that_widens_its_vae_is_not_offered_fp16(describe, make):
    knob = next(knob for knob in all_knobs() if knob.name == "vae_precision")
    assert knob.choice("fp16").need(describe("cuda", "sd15-tiny")) is None
    assert knob.choice("fp16").need(describe("cuda", "sdxl-tiny")) == (
        "StableDiffusionXLPipeline widens a VAE in fp16 to fp32 before it decodes"
    )
    build = make("sdxl-tiny", {"vae_precision": "fp16"})
    generate(build)
    assert effect_of("vae_precision", "fp16", build) == "the VAE decoded in float32"


def test_a_vae_in_bf16_spares_such_a_pipeline_the_widening(make):
    config = {"precision": "fp16", "vae_precision": "bf16"}
    build = make("sdxl-tiny", config)
    generate(build)
    assert no_effect(build, config) is None
    assert dtypes(build.pipe.vae) == {torch.bfloat16}


@pytest.mark.parametrize("value", ["fp32", "bf16", "fp16"])
def test_the_precision_of_the_pipeline_is_none_of_its_own(value, describe):
    clash = Space(describe()).clash({"vae_precision": value, "precision": value})
    assert clash == (
        f"vae_precision={value} does not go with precision={value}: the VAE is in {value} already"
    )


def test_an_engine_that_has_a_precision_of_its_own_excludes_one_of_the_vae(describe):
    space = Space(describe())
    engines = next(knob for knob in all_knobs() if knob.name == "vae_engine").values
    held = {
        engine: space.clash({"vae_precision": "bf16", "vae_engine": engine}) for engine in engines
    }
    assert {engine for engine, clash in held.items() if clash is None} == {"eager", "compile"}


@pytest.fixture
def flags() -> Iterator[None]:
    """Puts the flags of the process back."""
    yield
    torch.set_float32_matmul_precision("highest")
    torch.backends.mkldnn.matmul.fp32_precision = "none"
    torch.backends.mkldnn.conv.fp32_precision = "none"
    torch.backends.cudnn.benchmark = False


def test_products_of_fp32_matrices_in_bf16_are_offered_where_they_are_made(flags, make, describe):
    reason = rounds_to_bf16("cpu", 64)
    assert torch.get_float32_matmul_precision() == "highest"
    build = make("sd15-tiny", {"float32_matmul": "bf16"})
    assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
    assert torch.backends.mkldnn.conv.fp32_precision == "bf16"
    # What inductor asks before it compares kernels.
    assert torch.get_float32_matmul_precision() == "medium"
    seen = effect_of("float32_matmul", "bf16", build)
    assert (seen is None) == (reason is None)
    assert seen is None or seen.endswith("as in fp32")
    here = describe(probes={"float32-matmul-bf16": reason})
    offered = ("full",) if reason else ("full", "bf16")
    assert Space(here).choices["float32_matmul"] == offered


def test_flags_for_fp32_are_nothing_to_a_model_in_bf16(flags, make, describe):
    build = make("sd15-tiny", {"precision": "bf16", "float32_matmul": "tf32"})
    assert effect_of("float32_matmul", "tf32", build) == "unet computes in bfloat16"
    space = Space(describe("cuda"))
    assert space.clash({"precision": "bf16", "float32_matmul": "tf32"})
    assert space.clash({"precision": "fp32", "float32_matmul": "tf32"}) is None


def test_tf32_needs_a_device_that_has_it(describe):
    old = describe("cuda", native_dtypes=("fp32", "fp16"))
    assert Space(old).choices["float32_matmul"] == ("full",)
    assert Space(describe("cuda")).choices["float32_matmul"] == ("full", "tf32")
    assert Space(describe("cpu")).choices["float32_matmul"] == ("full", "bf16")


def test_cudnn_has_nothing_to_search_for_without_a_convolution_on_cuda(flags, make, describe):
    build = make("sd15-tiny", {"cudnn_benchmark": "on"})
    assert torch.backends.cudnn.benchmark
    seen = effect_of("cudnn_benchmark", "on", build)
    assert seen == "no convolution is left to cuDNN"
    spec = describe("cuda", "flux-tiny").spec
    assert Space(describe("cuda", "flux-tiny")).choices["cudnn_benchmark"] == ("off", "on")
    without = replace(describe("cuda"), spec=replace(spec, vae=None))
    assert Space(without).choices["cudnn_benchmark"] == ("off",)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_widens_its_layers_one_by_one(family, make):
    config = {"layerwise_casting": "fp8-e4m3"}
    build = make(family, config)
    assert psnr_db(generate(build), generate(make(family, {}))) > 20
    assert no_effect(build, config) is None
    denoiser = next(iter(build.denoisers().values()))
    stored = sum(w.numel() for w in denoiser.parameters() if w.dtype == torch.float8_e4m3fn)
    # Norms stay as they are, and with them the modulation that some families name so.
    assert stored > 0.5 * sum(weight.numel() for weight in denoiser.parameters())
    assert denoiser.dtype == torch.float32


def test_weights_that_were_widened_for_good_are_found_out(make):
    build = make("flux-tiny", {"layerwise_casting": "fp8-e5m2"})
    build.pipe.transformer.to(torch.float32)
    assert effect_of("layerwise_casting", "fp8-e5m2", build) == (
        "the weights of transformer are stored as float32"
    )
