from __future__ import annotations

from itertools import combinations, product

import pytest

from search_space.catalog import all_knobs, all_probes, check_known
from search_space.config import completed, steps
from search_space.errors import UsageError
from search_space.knob import Stage
from search_space.space import Space
from search_space.workload import Workload

BASELINE = completed({})


def complaint(context, **pins) -> str:
    with pytest.raises(UsageError) as caught:
        Space(context, **pins)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_pins_the_space_holds_every_available_choice(describe):
    context = describe()
    space = Space(context)
    for knob in all_knobs():
        near = [choice for choice in knob.choices if context.quality.allows(choice.tier)]
        available = [choice.value for choice in near if choice.need(context) is None]
        assert list(space.choices[knob.name]) == available
    assert space.choices["vae_slicing"] == ("off",)
    assert Space(describe(workload=Workload("", batch_size=2))).choices["vae_slicing"] == (
        "off",
        "on",
    )


def test_a_fixed_knob_has_one_choice_and_is_not_open(describe):
    space = Space(describe(), fix={"precision": "bf16"})
    assert space.choices["precision"] == ("bf16",)
    assert "precision" not in space.open
    assert not space.holds({})
    assert space.holds({"precision": "bf16"})


def test_what_is_excluded_stays_at_its_first_choice(describe):
    space = Space(describe(), exclude=["precision", "engine"])
    assert space.choices["precision"] == ("fp32",)
    assert space.choices["engine"] == ("eager",)
    assert "attention" in space.open
    assert not space.holds({"precision": "bf16"})


def test_of_what_is_included_alone_something_is_open(describe):
    assert set(Space(describe(), include=["precision", "engine"]).open) == {"precision", "engine"}


def test_a_fixed_choice_stands_whatever_is_included_or_excluded(describe):
    space = Space(describe(), fix={"precision": "bf16"}, include=["engine"], exclude=["precision"])
    assert space.choices["precision"] == ("bf16",)
    assert set(space.open) == {"engine"}


@pytest.mark.parametrize(
    ("pins", "message"),
    [
        ({"fix": {"precison": "bf16"}}, "there is no knob 'precison': did you mean 'precision'? "),
        ({"include": ["atention"]}, "there is no knob 'atention': did you mean 'attention'? "),
        ({"exclude": ["vae_tilling"]}, "there is no knob 'vae_tilling': did you mean 'vae_tiling'"),
        (
            {"fix": {"precision": "bf61"}},
            "there is no choice of precision 'bf61': did you mean 'bf16'? "
            "There are fp32, bf16, fp16",
        ),
        (
            {"fix": {"precision": "zzzzzz"}},
            "there is no choice of precision 'zzzzzz': There are fp32, bf16, fp16",
        ),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(describe, pins, message):
    assert complaint(describe(), **pins).startswith(message)


def test_an_unknown_knob_is_answered_with_all_of_them(describe):
    listed = complaint(describe(), include=["qqqq"])
    assert all(knob.name in listed for knob in all_knobs())
    assert "did you mean" not in listed


@pytest.mark.parametrize(
    ("fix", "device", "reason"),
    [
        (
            {"attention": "xformers"},
            "cpu",
            "attention=xformers is not available here: "
            "xFormers needs cuda; this machine's device is cpu",
        ),
        (
            {"vae_slicing": "on"},
            "cuda",
            "vae_slicing=on is not available here: "
            "a batch of 1 has nothing to slice: give --batch-size",
        ),
        (
            {"vae_tiling": "on"},
            "cpu",
            "vae_tiling=on is not available here: "
            "an image of 128 px is not larger than one tile of 128 px",
        ),
    ],
)
def test_a_fixed_choice_that_is_not_available_says_why(describe, fix, device, reason):
    assert complaint(describe(device), fix=fix) == reason


def test_what_a_probe_found_is_the_reason(describe):
    context = describe("cuda", probes={"xformers": "its extension does not load"})
    assert complaint(context, fix={"attention": "xformers"}).endswith(
        ": its extension does not load"
    )
    untried = complaint(describe("cuda", probes={}), fix={"attention": "xformers"})
    assert untried.endswith(": xformers was not tried on this machine")


def test_a_missing_package_is_answered_with_the_command_that_brings_it(describe):
    assert complaint(describe("cuda", packages={}), fix={"attention": "xformers"}).endswith(
        "xformers is not installed: pip install 'diffusers-autotune[xformers]'"
    )


@pytest.mark.parametrize(
    "fix",
    [
        {"attention_slicing": "auto", "attention": "plain"},
        {"attention": "plain", "attention_slicing": "auto"},
    ],
    ids=["declared first", "declared last"],
)
def test_two_fixed_choices_that_clash_are_both_named_with_the_reason(describe, fix):
    assert complaint(describe(), fix=fix) == (
        "the fixed choices exclude each other: "
        "attention_slicing=auto does not go with attention=plain: "
        "each sets the attention processor"
    )


def test_a_conflict_can_depend_on_the_machine(describe):
    config = {"engine": "onnxruntime", "precision": "fp16"}
    assert "computes float16 as float32" in Space(describe("cpu")).clash(config)
    assert Space(describe("cuda")).clash(config) is None


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_space_does_not_depend_on_the_order_in_which_a_config_names_its_knobs(describe, device):
    space = Space(describe(device, workload=Workload("", batch_size=2)))
    acting = [(knob.name, value) for knob in all_knobs() for value in knob.values[1:]]
    clashes = 0
    for one, other in combinations(acting, 2):
        if one[0] == other[0]:
            continue
        config, turned = dict([one, other]), dict([other, one])
        assert space.clash(config) == space.clash(turned)
        assert space.holds(config) == space.holds(turned)
        clashes += space.clash(config) is not None
    assert clashes >= 5


def test_a_clash_keeps_a_config_out_whatever_else_it_names(describe):
    space = Space(describe())
    clashing = {"attention": "plain", "attention_slicing": "auto"}
    assert space.holds({"attention": "plain"}) and space.holds({"attention_slicing": "auto"})
    assert not space.holds(clashing)
    assert not space.holds({**clashing, "memory_format": "channels_last"})


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps", "xpu", "hpu"])
def test_the_baseline_and_each_available_choice_alone_hold(describe, device):
    space = Space(describe(device))
    assert space.holds({}) and space.holds(BASELINE)
    for name, values in space.choices.items():
        assert [value for value in values if not space.holds(space.supported({name: value}))] == []


def test_what_a_choice_asks_for_is_added_to_a_config(describe):
    space = Space(describe())
    assert space.supported({"inductor": "freezing"}) == {
        "inductor": "freezing",
        "engine": "compile-default",
    }
    assert not space.holds({"inductor": "freezing"})
    assert space.clash({"inductor": "freezing"}).startswith("inductor=freezing does not go with")


def test_weights_are_frozen_only_in_a_dtype_that_the_cpu_multiplies(describe):
    config = {"inductor": "freezing", "engine": "compile-default", "precision": "fp16"}
    assert Space(describe(native_dtypes=("fp32", "bf16", "fp16"))).holds(config)
    without = Space(describe(native_dtypes=("fp32", "bf16")))
    assert "packs no fp16 weights" in without.clash(config)
    assert without.holds({**config, "precision": "bf16"})


@pytest.mark.parametrize("config", [{"no_such_knob": "on"}, {"precision": "int3"}])
def test_a_config_that_names_something_unknown_does_not_hold(describe, config):
    assert not Space(describe()).holds(config)


def test_the_configs_of_a_space_are_counted(describe):
    space = Space(describe(), include=("precision", "memory_format"))
    values = product(*space.open.values())
    configs = [dict(zip(space.open, one, strict=True)) for one in values]
    assert space.count() == sum(map(space.holds, configs)) - 1
    assert space.count(most=2) == 2
    assert Space(describe()).count() == 1000
    assert Space(describe(), include=("vae_slicing",)).count() == 0
    assert Space(describe(), {"precision": "bf16"}, include=("precision",)).count() == 1


def test_steps_come_in_the_order_of_their_stages():
    config = {knob.name: knob.values[-1] for knob in reversed(all_knobs())}
    ordered = steps(config)
    assert [step.stage for step in ordered] == sorted(step.stage for step in ordered)
    assert {step.name: step.choice.value for step in ordered} == config
    assert ordered[-1].stage is Stage.ENGINE


def test_the_stages_are_in_the_order_of_application():
    assert [stage.name for stage in sorted(Stage)] == [
        "ENVIRONMENT",
        "CALL",
        "LOAD",
        "SCHEDULER",
        "FUSE",
        "QUANTIZE",
        "CASTING",
        "ATTENTION",
        "VAE",
        "CACHE",
        "PLACEMENT",
        "MEMORY_FORMAT",
        "ENGINE",
    ]


def test_the_baseline_has_no_steps():
    assert steps({}) == steps(BASELINE) == ()


@pytest.mark.parametrize("config", [{"no_such_knob": "on"}, {"precision": "int3"}])
def test_steps_of_something_unknown_are_refused(config):
    with pytest.raises(UsageError, match="there is no "):
        steps(config)


def test_a_known_name_gives_its_knob():
    knobs = {knob.name: knob for knob in all_knobs()}
    assert all(
        check_known(name, value) is knobs[name]
        for name, knob in knobs.items()
        for value in knob.values
    )


def test_every_probe_of_a_knob_is_found():
    assert {"CPUExecutionProvider", "OpenVINO CPU BF16", "xformers"} <= set(all_probes())


def test_no_choice_is_lost_where_several_files_declare_one_knob():
    engines = check_known("engine").values
    assert engines[0] == "eager"
    assert {"onnxruntime", "compile-default", "compile-regional"} <= set(engines)
    pairs = list(product(["engine"], engines))
    assert len(pairs) == len(set(pairs))
