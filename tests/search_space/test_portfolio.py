from __future__ import annotations

from dataclasses import replace

import pytest

from search_space.catalog import check_known
from search_space.config import Config
from search_space.knob import Tier
from search_space.portfolio import ANYWHERE, KNOWN_GOOD, SPARING, portfolio, sparing
from search_space.space import Space

DEVICES = ["cpu", "cuda", "mps", "xpu", "hpu"]
FAMILIES = ["sd15-tiny", "sdxl-tiny", "sd3-tiny", "flux-tiny", "wan-tiny", "ltx-tiny"]
KNOWN = [config for configs in (*KNOWN_GOOD.values(), ANYWHERE, SPARING) for config in configs]


@pytest.mark.parametrize("config", KNOWN, ids=str)
def test_what_is_known_good_names_knobs_and_choices_that_exist(config):
    for name, value in config.items():
        assert value in check_known(name, value).values
    assert Config(config) == dict(sorted(config.items()))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("device", DEVICES)
def test_every_seed_holds_and_comes_once(describe, device, family):
    space = Space(describe(device, family))
    seeds = portfolio(space)
    assert all(space.holds(seed) for seed in seeds)
    assert len({tuple(seed.items()) for seed in seeds}) == len(seeds) > 0


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_where_all_is_available_each_known_good_config_is_a_seed(describe, device):
    from search_space.workload import Workload

    large = Workload("", height_px=256, width_px=256)
    for_unets, for_transformers = (
        portfolio(Space(replace(describe(device, family, large), quality=Tier.LOSSY)))
        for family in ("sd15-tiny", "flux-tiny")
    )
    known = [Config(config) for config in KNOWN_GOOD[device]]
    others = [config for config in known if "first-block" in config.get("cache", "")]
    assert for_unets == [config for config in known if config not in others]
    assert all(config in for_transformers for config in others)


def test_a_seed_loses_what_is_not_available_and_nothing_else(describe):
    seeds = portfolio(Space(describe("cuda", packages={})))
    assert {"precision": "fp16", "attention_slicing": "auto"} in seeds
    assert all("attention" not in seed for seed in seeds)


@pytest.mark.parametrize("device", DEVICES)
def test_pins_are_in_every_seed(describe, device):
    space = Space(describe(device), fix={"precision": "bf16"}, exclude=["memory_format"])
    seeds = portfolio(space)
    assert seeds
    assert all(seed["precision"] == "bf16" for seed in seeds)
    assert all("memory_format" not in seed for seed in seeds)


def test_a_seed_that_clashes_with_a_pin_is_left_out(describe):
    seeds = portfolio(Space(describe("cpu"), fix={"precision": "bf16"}))
    assert all(seed.get("engine") != "onnxruntime" for seed in seeds)
    assert {"precision": "bf16", "memory_format": "channels_last"} in seeds


def test_a_dtype_that_the_device_only_emulates_is_not_tried_first(describe):
    seeds = portfolio(Space(describe("cpu", native_dtypes=("fp32",))))
    assert seeds and all("precision" not in seed for seed in seeds)


def test_a_seed_without_its_engine_is_left_out(describe):
    probes = {"OpenVINO CPU FP32": None, "OpenVINO CPU BF16": "no BF16 here"}
    seeds = portfolio(Space(describe("cpu", probes=probes)))
    assert {"engine": "openvino"}.items() <= seeds[1].items()
    assert all("openvino-bf16" not in seed.values() for seed in seeds)


def test_a_pin_at_the_first_choice_is_not_spelled_out(describe):
    seeds = portfolio(Space(describe("cpu"), fix={"precision": "fp32"}))
    assert {"engine": "onnxruntime", "vae_engine": "onnxruntime"} in seeds
    assert all("precision" not in seed for seed in seeds)


def test_what_spares_memory_keeps_the_precision_of_the_baseline(describe):
    assert sparing(Space(describe("cuda"))) == list(SPARING)
    assert sparing(Space(describe("cpu"))) == [{"attention_slicing": "max"}]
    pinned = sparing(Space(describe("cuda"), fix={"precision": "fp16"}))
    assert pinned and all(seed["precision"] == "fp16" for seed in pinned)
    assert sparing(Space(describe("cuda"), exclude=["placement", "attention_slicing"])) == []
