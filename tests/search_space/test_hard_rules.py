"""Rules that several knobs keep together."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from search_space.catalog import all_probes, check_known
from search_space.knobs.attention import COMPILED, PYTORCH_ENGINES
from search_space.space import Space

ENGINES = check_known("engine").values
ELSEWHERE = tuple(value for value in ENGINES if value not in PYTORCH_ENGINES)
SETS_THE_PROCESSOR = (
    ("attention", "plain"),
    ("attention", "xformers"),
    ("attention_slicing", "auto"),
    ("attention_slicing", "max"),
    ("fused_projections", "on"),
)


def acting(name: str) -> tuple[str, ...]:
    """The choices of a knob that change something."""
    return check_known(name).values[1:]


@pytest.mark.parametrize(
    "name",
    ["attention", "attention_slicing", "cache", "layerwise_casting", "placement", "quantization"],
)
def test_what_acts_inside_pytorch_goes_with_no_other_engine(name, describe):
    space = Space(describe("cuda", "flux-tiny"))
    assert {"onnxruntime", "openvino", "compile-openvino", "hpu-graphs"} <= set(ELSEWHERE)
    # The plain processor is matrix products, which are exported as such.
    values = [value for value in acting(name) if value != "plain"]
    for value, engine in product(values, ELSEWHERE):
        # Some kernels ask for 16 bits: that must not be the reason.
        clash = space.clash({name: value, "engine": engine, "precision": "bf16"})
        assert clash.startswith(f"{name}={value} does not go with engine={engine}: ")


def test_what_sets_the_attention_processor_of_a_unet_excludes_the_others(describe):
    space = Space(describe("cuda"))
    pairs = [pair for pair in combinations(SETS_THE_PROCESSOR, 2) if pair[0][0] != pair[1][0]]
    assert [pair for pair in pairs if space.clash(dict(pair)) is None] == []


def test_no_kernel_is_offered_whose_probe_has_failed(describe):
    failed = dict.fromkeys(all_probes(), "it is broken here")
    for family, left in (("sd15-tiny", {"sdpa", "plain"}), ("flux-tiny", {"sdpa"})):
        offered = Space(describe("cuda", family, probes=failed)).choices["attention"]
        # Those of the Hub are not tried, for that would fetch them.
        assert {value for value in offered if not value.endswith("-hub")} == left


def test_layers_that_cast_their_weights_are_not_compiled(describe):
    space = Space(describe("cuda"))
    for value, engine in product(acting("layerwise_casting"), COMPILED):
        assert space.clash({"layerwise_casting": value, "engine": engine}) is not None


def test_what_skips_blocks_stands_in_no_whole_graph_and_in_no_cuda_graph(describe):
    space = Space(describe("cuda", "flux-tiny"))
    whole = set(COMPILED) - {"compile-regional", "compile-default"}
    assert len(whole) == 3
    for value, engine in product(acting("cache"), whole):
        assert space.clash({"cache": value, "engine": engine}) is not None
    deepcache = {value for value in acting("cache") if value.startswith("deepcache")}
    for value in set(acting("cache")) - deepcache:
        assert space.clash({"cache": value, "engine": "compile-regional"}) is not None


def test_a_model_that_does_not_name_its_blocks_is_not_compiled_by_them(describe):
    engine = check_known("engine")
    said = Space(describe("cpu", "sd3-tiny")).reason(engine, "compile-regional")
    assert said == "SD3Transformer2DModel does not name its repeated blocks"
    assert Space(describe("cpu", "flux-tiny")).reason(engine, "compile-regional") is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layerwise_casting", "fp8-e4m3"),
        ("layerwise_casting", "fp8-e5m2"),
        ("quantization", "torchao-fp8-weights"),
    ],
)
def test_mps_has_no_float8(name, value, describe):
    need = check_known(name).choice(value).need
    assert need(describe("mps")) == "float8 does not exist on mps"
    assert need(describe("cpu")) is None


def test_mps_has_bfloat16_where_the_system_knows_it(describe):
    old = describe("mps", probes={"bf16": "BFloat16 is not supported on MPS"})
    for name in ("precision", "vae_precision"):
        need = check_known(name).choice("bf16").need
        assert need(old) == "BFloat16 is not supported on MPS"
        assert need(describe("mps")) is None
        assert need(describe("cpu", probes={})) is None
    assert all_probes()["bf16"]("cpu", 64) is None


@pytest.mark.parametrize("name", ["precision", "vae_precision"])
def test_the_decoder_of_wan_is_compiled_for_a_cpu_in_fp32_alone(name, describe):
    config = {"vae_engine": "compile", name: "bf16"}
    assert "gives NaN" in Space(describe("cpu", "wan-tiny")).clash(config)
    assert Space(describe("cpu", "ltx-tiny")).clash(config) is None
    assert Space(describe("cuda", "wan-tiny")).clash(config) is None
