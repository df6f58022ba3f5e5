"""``tuner.warm_up`` and ``tuner.verify``: what calls take here, beside what was promised."""

from __future__ import annotations

import pytest

import tuner
from tests.tuner.test_loaded import FIGURES, folder  # noqa: F401
from tuner.loading.match import Level
from tuner.loading.trying import Verification
from tuner.measuring.precision import MAXIMUM_SAMPLES, MAXIMUM_WARM_UPS, MINIMUM_SAMPLES

# torch warns of its own.
pytestmark = pytest.mark.filterwarnings("default")


def verified(latency_s=1.31, promised_s=1.29, level=Level.EXACT, half_s=0.02):
    low_s, high_s = latency_s - half_s, latency_s + half_s
    return Verification(latency_s, low_s, high_s, 5, promised_s, "another GPU", level)


@pytest.mark.parametrize(
    ("facts", "sentence", "as_promised"),
    [
        ({}, "1.31 s here, 1.29 s promised (95 %: 1.29 to 1.33 s, 5 calls)", True),
        (
            {"latency_s": 2.0},
            "2 s here, 1.29 s promised (95 %: 1.98 to 2.02 s, 5 calls)",
            False,
        ),
        (
            {"level": Level.OTHER_MACHINE},
            "1.31 s here, 1.29 s measured on another GPU, which is no promise: "
            "same device model on another machine (95 %: 1.29 to 1.33 s, 5 calls)",
            None,
        ),
        (
            {"promised_s": None, "level": Level.DEFAULT},
            "1.31 s here, nothing promised for the default of diffusers "
            "(95 %: 1.29 to 1.33 s, 5 calls)",
            None,
        ),
    ],
)
def test_one_sentence_says_what_a_call_takes_here_and_what_was_promised(
    facts, sentence, as_promised
):
    verification = verified(**facts)
    assert str(verification) == sentence
    assert verification.as_promised is as_promised


def test_what_is_faster_than_promised_or_hardly_slower_is_as_promised():
    assert verified(0.5).as_promised
    assert verified(1.36, half_s=0.01).as_promised
    assert not verified(1.38, half_s=0.01).as_promised


def test_a_loaded_pipeline_is_called_until_its_latency_is_known(folder):  # noqa: F811
    pipe = tuner.load(folder("a", {"memory_format": "channels_last"}))
    pipe.set_progress_bar_config(disable=True)
    calls_s = tuner.warm_up(pipe)
    assert 2 <= len(calls_s) <= MAXIMUM_WARM_UPS["cpu"] + 1
    verification = tuner.verify(pipe)
    assert MINIMUM_SAMPLES <= verification.calls <= MAXIMUM_SAMPLES
    assert verification.low_s <= verification.latency_s <= verification.high_s
    # Of a pipeline this small a call takes far less than the second that was made up.
    assert (verification.promised_s, verification.as_promised) == (FIGURES["latency_s"], True)
    assert str(verification).startswith(f"{verification.latency_s:.3g} s here, 1 s promised (95 %")


def test_images_are_counted_where_the_figures_are_seconds_an_image(folder):  # noqa: F811
    from dataclasses import replace

    from search_space.workload import Workload

    workload = Workload("a model", height_px=64, width_px=64, steps=1, throughput=True)
    pipe = tuner.load(folder("a", {"batch": "times-2"}, workload=workload))
    pipe.set_progress_bar_config(disable=True)
    one_call_s = min(tuner.warm_up(pipe))
    whole = tuner.verify(pipe).latency_s
    assert whole < one_call_s
    pipe.tuned = replace(pipe.tuned, workload=replace(workload, throughput=False))
    assert tuner.verify(pipe).latency_s > whole


def test_another_pipeline_is_refused():
    with pytest.raises(tuner.UsageError, match=r"not loaded by tuner\.load"):
        tuner.verify(object())
    with pytest.raises(tuner.UsageError, match=r"not loaded by tuner\.load"):
        tuner.warm_up(object())
