"""What attention switches of diffusers do without a word: nothing, or something else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import SD3Transformer2DModel
from diffusers.models.attention_dispatch import AttentionBackendName

from search_space.build import Build
from search_space.catalog import all_probes, check_known
from search_space.construct import construct, no_effect
from search_space.knobs.attention_backends import absent, registry_name
from search_space.pipeline.attention_layers import fuses_projections
from search_space.runtimes.operators import denoiser_operators, sdpa_kernels
from search_space.space import Space

CALL = {"prompt": "a horse", "height": 64, "width": 64, "num_inference_steps": 2}
CHOICES = check_known("attention").values
UNETS = ("sd15-tiny", "sdxl-tiny")
DISPATCHING = ("flux-tiny", "wan-tiny", "ltx-tiny")
MASKLESS = {
    *("native-flash", "flash", "flash-3", "flash-hub", "flash-3-hub", "flash-4-hub"),
    *(value for value in CHOICES if value.startswith("sage") and value != "sage-varlen"),
}


@pytest.fixture(scope="module")
def make(reference_folder: Callable[[str], Path], tmp_path_factory) -> Callable[..., Build]:
    """A pipeline with a config, whether or not the config is available."""

    def build(family: str, config: dict[str, str]) -> Build:
        made = Build(str(reference_folder(family)), "cpu", dict(CALL), tmp_path_factory.mktemp("x"))
        construct(made, config).set_progress_bar_config(disable=True)
        return made

    return build


def reason(context: Any, name: str, value: str) -> str | None:
    return Space(context).reason(check_known(name), value)


def clash(context: Any, **config: str) -> str | None:
    return Space(context).clash(config)


@pytest.mark.parametrize("family", ["sd15-tiny", "sd3-tiny"])
def test_a_backend_for_a_model_that_does_not_ask_for_one(family, make, describe):
    said = reason(describe("cpu", family), "attention", "native-math")
    assert "does not call the attention dispatcher" in said
    build = make(family, {"attention": "native-math"})
    assert "the attention backends of" in no_effect(build, {"attention": "native-math"})
    assert sdpa_kernels(denoiser_operators(build)) == {"flash"}


@pytest.mark.parametrize("family", DISPATCHING)
def test_a_backend_of_a_model_that_asks_for_one(family, make, describe):
    config = {"attention": "native-math"}
    assert reason(describe("cpu", family), "attention", "native-math") is None
    assert no_effect(make(family, config), config) is None


def test_a_backend_that_another_setting_took_back(make):
    config = {"attention": "native-math"}
    build = make("flux-tiny", config)
    build.pipe.transformer.set_attention_backend("native")
    assert no_effect(build, config) == (
        "attention=native-math had no effect: the attention backends of transformer are ['native']"
    )


@pytest.mark.parametrize("family", ["sd15-tiny", "sd3-tiny"])
def test_a_kernel_is_chosen_for_the_denoiser_alone(family, make):
    config = {"attention": "sdpa-math"}
    build = make(family, config)
    assert no_effect(build, config) is None
    assert "forward" not in vars(build.pipe.vae)
    assert sdpa_kernels(denoiser_operators(make(family, {}))) == {"flash"}


@pytest.mark.parametrize("family", DISPATCHING)
def test_a_kernel_is_chosen_by_name_where_there_is_a_dispatcher(family, describe):
    said = reason(describe("cpu", family), "attention", "sdpa-math")
    assert "has native-* choices" in said


def test_a_kernel_that_pytorch_takes_anyway_is_not_a_choice(describe):
    for family, value in (("sd15-tiny", "sdpa-flash"), ("flux-tiny", "native-flash")):
        said = reason(describe("cpu", family), "attention", value)
        assert said == "on a CPU PyTorch takes its flash kernel anyway"


def test_slices_bypass_the_kernel_that_was_chosen(make, describe):
    config = {"attention": "sdpa-math", "attention_slicing": "auto"}
    assert "are not computed by that operator" in clash(describe(), **config)
    assert no_effect(make("sd15-tiny", config), config) == (
        "attention=sdpa-math had no effect: the attention kernel is not one of PyTorch"
    )


@pytest.mark.parametrize("family", ["sd3-tiny", *DISPATCHING])
def test_a_transformer_does_not_slice_its_attention(family, make, describe):
    assert "cannot slice" in reason(describe("cpu", family), "attention_slicing", "auto")
    build = make(family, {"attention_slicing": "auto"})
    assert "the attention processors are" in no_effect(build, {"attention_slicing": "auto"})


def test_slices_on_mps_are_kept_from_fp16(describe):
    config = {"attention_slicing": "auto", "precision": "fp16"}
    assert "gives NaN in fp16" in clash(describe("mps"), **config)
    assert clash(describe("cpu"), **config) is None
    assert clash(describe("mps"), attention_slicing="auto", precision="bf16") is None


def test_xformers_whose_extension_does_not_load(describe):
    broken = describe("cuda", probes={**dict.fromkeys(all_probes()), "xformers": "it is broken"})
    assert reason(broken, "attention", "xformers") == "it is broken"
    missing = reason(describe("cuda", packages={}), "attention", "xformers")
    assert missing.endswith("pip install 'diffusers-autotune[xformers]'")
    assert "needs cuda" in reason(describe("cpu"), "attention", "xformers")
    assert "cannot be replaced" in reason(describe("cuda", "sd3-tiny"), "attention", "xformers")
    for family in (*UNETS, *DISPATCHING):
        assert reason(describe("cuda", family), "attention", "xformers") is None


@pytest.mark.parametrize("family", ["sd15-tiny", "flux-tiny"])
def test_xformers_that_was_asked_for_and_is_not_there(family, make):
    assert no_effect(make(family, {}), {"attention": "xformers"}).startswith(
        "attention=xformers had no effect: the attention processors of "
    )


@pytest.mark.parametrize("family", [*UNETS, "sd3-tiny", "flux-tiny", "wan-tiny"])
def test_projections_are_fused_where_the_attention_uses_them(family, make, describe):
    assert reason(describe("cpu", family), "fused_projections", "on") is None
    build = make(family, {"fused_projections": "on"})
    assert no_effect(build, {"fused_projections": "on"}) is None


def test_fused_projections_that_the_attention_ignores(make, describe):
    said = reason(describe("cpu", "ltx-tiny"), "fused_projections", "on")
    assert said == "the attention of LTXVideoTransformer3DModel does not use fused projections"
    assert no_effect(
        make("ltx-tiny", {"fused_projections": "on"}), {"fused_projections": "on"}
    ) == (
        "fused_projections=on had no effect: "
        "LTXVideoAttnProcessor of transformer does not use the fused projections"
    )


def test_fused_projections_that_slices_overwrite(make, describe):
    config = {"fused_projections": "on", "attention_slicing": "auto"}
    assert "each sets the attention processor" in clash(describe(), **config)
    assert no_effect(make("sd15-tiny", config), config) == (
        "fused_projections=on had no effect: "
        "SlicedAttnProcessor of unet does not use the fused projections"
    )


def test_fused_projections_keep_the_kernel_that_was_chosen(make, describe):
    config = {"fused_projections": "on", "attention": "sdpa-math"}
    assert clash(describe(), **config) is None
    assert no_effect(make("sd15-tiny", config), config) is None


def test_fused_projections_beside_other_processors(describe):
    assert clash(describe("cuda"), fused_projections="on", attention="xformers") is not None
    flux = describe("cuda", "flux-tiny")
    assert clash(flux, fused_projections="on", attention="xformers") is None


@pytest.mark.parametrize(("norm", "kept"), [(None, True), ("rms_norm", False)])
def test_the_fused_attention_of_sd3_leaves_out_norms(norm, kept):
    torch.manual_seed(0)
    size = {"num_attention_heads": 2, "attention_head_dim": 8, "caption_projection_dim": 16}
    model = SD3Transformer2DModel(
        **size, sample_size=8, num_layers=2, joint_attention_dim=16, qk_norm=norm
    ).eval()
    inputs = {
        "hidden_states": torch.randn(1, 16, 8, 8),
        "encoder_hidden_states": torch.randn(1, 4, 16),
        "pooled_projections": torch.randn(1, 2048),
        "timestep": torch.tensor([1.0]),
    }
    assert fuses_projections(model) is kept
    with torch.no_grad():
        before = model(**inputs).sample
        model.fuse_qkv_projections()
        after = model(**inputs).sample
    assert torch.allclose(before, after, atol=1e-5) is kept


def test_every_backend_of_the_dispatcher_is_a_choice():
    named = {registry_name(value) for value in CHOICES} & {
        one.value for one in AttentionBackendName
    }
    elsewhere = {"native", "_native_npu", "_native_xla"}
    assert {one.value for one in AttentionBackendName} - named == elsewhere


def test_a_model_with_masks_gets_no_kernel_without_them(describe):
    flux, ltx = (Space(describe("cuda", name)).choices["attention"] for name in DISPATCHING[::2])
    assert set(flux) - set(ltx) == MASKLESS
    assert {"native-efficient", "native-cudnn", "flex", "flash-varlen", "xformers"} <= set(ltx)


@pytest.mark.parametrize("value", ["flash", "native-cudnn", "sage", "flash-3-hub"])
def test_a_kernel_of_16_bits_asks_for_half_precision(value, describe):
    flux = describe("cuda", "flux-tiny")
    assert "alone" in clash(flux, attention=value)
    assert clash(flux, attention=value, precision="bf16") is None
    assert Space(flux).supported({"attention": value}) == {"attention": value, "precision": "bf16"}


def test_a_kernel_from_the_hub_is_run_only_if_allowed(describe):
    context = describe("cuda", "flux-tiny", packages={"torch": "2.13.0"})
    asked = reason(replace(context, allow_remote_code=False), "attention", "flash-hub")
    assert asked.endswith("give --allow-remote-code")
    assert "diffusers-autotune[kernels]" in reason(context, "attention", "flash-hub")
    assert reason(describe("cuda", "flux-tiny"), "attention", "flash-hub") is None


def test_a_kernel_of_amd_needs_a_build_for_it(describe):
    versions = {"torch": "2.13.0+rocm7.0", "kernels": "0.17.2"}
    context = describe("cuda", "flux-tiny", packages=versions)
    assert reason(context, "attention", "aiter-fa2-hub") is None
    assert "ROCm" in reason(describe("cuda", "flux-tiny"), "attention", "aiter-fa2-hub")


@pytest.mark.parametrize("value", ["sdpa-math", "native-math", "flex", "xformers", "flash"])
def test_a_chosen_kernel_is_not_exported(value, describe):
    context = describe("cuda", "flux-tiny")
    assert clash(context, attention=value, precision="bf16", engine="openvino") is not None
    assert clash(context, attention=value, precision="bf16", engine="compile-default") is None


def test_flex_attention_is_not_compiled_for_a_cpu(describe):
    assert "Flex" in clash(describe("cpu"), attention="flex", engine="compile-regional")


# Flex Attention warns that it is fast only when compiled.
@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
@pytest.mark.parametrize("name", ["sdpa-flash", "sdpa-math", "flex"])
def test_what_a_cpu_has_is_found_by_its_probe(name):
    assert all_probes()[name]("cpu", 64) is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sdpa-efficient", "PyTorch has no efficient kernel for heads of 64 on cpu"),
        ("sdpa-cudnn", "PyTorch has no cudnn kernel for heads of 64 on cpu"),
        ("flash", "flash-attn is not installed: pip install flash-attn --no-build-isolation"),
        ("flash-3", "flash-attn-3 is not installed: build hopper/ of github.com/Dao-AILab/"),
        ("sage", "sageattention is not installed: build 2.1.1 or later from github.com/"),
    ],
)
def test_what_a_cpu_does_not_have_is_told_by_its_probe(name, said):
    package = said.partition(" ")[0]
    if "not installed" in said and absent(package, "") is None:
        pytest.skip(f"{package} is installed")
    assert all_probes()[name]("cpu", 64).startswith(said)


def test_a_kernel_that_pytorch_replaces_by_another_is_told(monkeypatch):
    # As on MPS, where the choice of a kernel is accepted and has no effect.
    from torch.nn import attention

    monkeypatch.setattr(attention, "sdpa_kernel", lambda backend: torch.no_grad())
    said = all_probes()["sdpa-math"]("cpu", 64)
    assert said == "asked for sdpa-math, PyTorch took flash"
