from __future__ import annotations

from dataclasses import replace

import pytest

from search_space.budget import UNLIMITED, Budget
from search_space.config import Config
from search_space.trial import Failure, FailureKind, Measurement, Peak, Trial

ON_DEVICE = (Peak("device", "load", "a", 40), Peak("host", "load", "b", 70))
ON_HOST = (Peak("host", "load", "b", 70), Peak("host_resident", "load", "c", 900))


def trial(*peaks: Peak) -> Trial:
    return Trial(Config({}), Measurement({"steady": (1.0,)}, peaks), 1.0, "")


@pytest.mark.parametrize(
    ("peaks", "budget", "says"),
    [
        (ON_DEVICE, UNLIMITED, None),
        (ON_DEVICE, Budget(40, 70), None),
        (ON_DEVICE, Budget(39, 70), "needs 0 MiB, the budget is 0 MiB"),
        (ON_DEVICE, Budget(40, 69), "needs 0 MiB on the host, the budget is 0 MiB"),
        (ON_HOST, Budget(70), None),
        (ON_HOST, Budget(100, 69), "needs 0 MiB on the host, the budget is 0 MiB"),
        (ON_HOST, Budget(69, 100), "needs 0 MiB, the budget is 0 MiB"),
    ],
)
def test_each_budget_is_about_its_memory(peaks, budget, says):
    failure = trial(*peaks).judged(budget)
    assert (failure.message if failure else None) == says
    assert trial(*peaks).exceeds(budget) == (says is not None)


def test_without_a_device_the_smaller_holds():
    assert Budget(5, 3).on_host("cpu") == Budget(3, 5).on_host("cpu") == 3
    assert (Budget(5, 3).on_device("cuda"), Budget(5, 3).on_host("cuda")) == (5, 3)
    assert (Budget(5).on_device("cpu"), Budget(5).on_host("cuda")) == (None, None)


def test_running_out_of_memory_says_nothing_about_a_larger_budget():
    stopped = Failure(FailureKind.HOST_OUT_OF_MEMORY, "stopped", peak_bytes=60)
    within = replace(trial(), outcome=stopped, budget=Budget(40, 40))
    assert within.counts(Budget(40, 40)) and within.exceeds(Budget(30, 40))
    for larger in (UNLIMITED, Budget(41, 40), Budget(40)):
        assert not within.counts(larger) and not within.exceeds(larger)
    without = replace(within, budget=UNLIMITED)
    assert without.counts(UNLIMITED) and without.exceeds(Budget(80))


def test_other_failures_say_as_much_within_any_budget():
    crashed = Failure(FailureKind.CRASH, "killed by SIGSEGV")
    within = replace(trial(), outcome=crashed, budget=Budget(40))
    assert within.counts(UNLIMITED)
    assert not within.exceeds(Budget(1))
