from __future__ import annotations

import pytest

from search_space.trial import Condition, Failure, FailureKind, Measurement
from search_space.workload import Workload

SECONDS = {"steady": (1.0, 1.0, 1.0)}


def seen(value, sample="steady", position=0, kind="others_cores"):
    complaint = f"others took {value}" if value > 0.1 else ""
    return Condition(kind, value, complaint, sample, position)


def test_a_quiet_trial_is_not_disturbed():
    quiet = Measurement(SECONDS, (), conditions=(seen(0.0), seen(0.05, position=1)))
    assert (quiet.disturbed, quiet.unstable) == (None, None)


def test_the_worst_of_the_samples_that_count_is_told_and_how_many_there_are():
    conditions = (seen(0.5), seen(0.9, position=1), seen(0.0, position=2))
    assert (
        Measurement(SECONDS, (), conditions=conditions).disturbed == "others took 0.9 (2 x steady)"
    )


@pytest.mark.parametrize("sample", ["first_call", "warm_up", "disturbed"])
def test_what_disturbed_other_samples_does_not_disturb_the_latency(sample):
    assert Measurement(SECONDS, (), conditions=(seen(0.9, sample),)).disturbed is None


def test_what_holds_for_the_whole_trial_disturbs_and_kinds_are_told_apart():
    battery = Condition("on_battery", 1.0, "it runs on its battery")
    both = Measurement(SECONDS, (), conditions=(seen(0.9), battery))
    assert both.disturbed == "others took 0.9 (1 x steady); it runs on its battery"


def test_what_compiles_while_it_is_timed_is_unstable_and_not_disturbed():
    compiled = Condition("recompiles", 2, "torch compiled anew 2 times")
    found = Measurement(SECONDS, (), conditions=(compiled,))
    assert (found.disturbed, found.unstable) == (None, "torch compiled anew 2 times")


def test_a_failure_tells_what_disturbed_it():
    assert Failure(FailureKind.TIMEOUT, "late").disturbed is None
    late = Failure(FailureKind.TIMEOUT, "late", conditions=(seen(0.9, ""),))
    assert late.disturbed == "others took 0.9"


@pytest.mark.parametrize(("throughput", "latency_s"), [(False, 6.0), (True, 1.5)])
def test_images_divide_the_latency_where_they_are_what_counts(throughput, latency_s):
    counted = Workload("m", throughput=throughput).counted(4)
    found = Measurement({"steady": (5.0, 6.0, 8.0)}, (), images=4, counted=counted)
    assert (found.latency_s, found.image_s) == (latency_s, 1.5)
