from __future__ import annotations

import os

import pytest

from search_space.trial import Condition, Measurement, Trial
from tuner.noise import Guard
from tuner.pace import BEST_PACE, MOST_CORES, PACE, Pace, best_pace_s, few, slowest_s

pinned = pytest.mark.skipif(not few([0]), reason="a thread does not choose its core here")
SLOW = "the processor computed at 50% of its best pace"


def complaints(conditions):
    return [seen.complaint for seen in conditions if seen.kind == PACE]


def test_a_call_beside_which_the_processor_was_slow_is_disturbed():
    pace = Pace([], best_s=0.001)
    (seen,) = pace.seen(0.0011, 0.002)
    assert (seen.kind, seen.value, seen.complaint) == (PACE, 0.002, SLOW)
    (seen,) = pace.seen(0.0011, 0.001)
    assert (seen.value, seen.complaint) == (0.0011, "")


def test_what_was_not_measured_is_not_told():
    assert Pace([], best_s=0.001).seen(None, None) == ()
    assert Pace([]).own() == ()


def test_without_a_pace_to_compare_with_nothing_is_slow():
    assert complaints(Pace([]).seen(1.0)) == [""]


@pytest.mark.parametrize("cores", [[], [0], [10**6]], ids=["here", "chosen", "not there"])
def test_the_work_takes_time_wherever_it_is_done(cores):
    pace = Pace(cores)
    taken_s = pace.take()
    assert 0 < taken_s == pace.best_s
    (own,) = pace.own()
    assert (own.kind, own.value) == (BEST_PACE, taken_s)


def test_calls_are_judged_anew_once_a_better_pace_is_known():
    pace = Pace([])
    taken_s = pace.take()
    before = (Condition("others_cores", 0.0), *pace.seen(2 * pace.best_s))
    assert complaints(before) == [SLOW]
    first = Pace([]).seen(2 * taken_s)
    assert complaints(first) == [""]
    assert pace.judged((Condition("others_cores", 0.0), *first)) == before


def test_a_guard_tells_the_pace_and_judges_it():
    guard = Guard("cpu", pace_s=1e-9)
    guard.begin()
    seen = guard.end()
    (complaint,) = complaints(seen)
    assert complaint == "the processor computed at 0% of its best pace"
    assert guard.judged(seen) == seen
    assert not guard.calm()


@pinned
def test_taking_the_pace_leaves_the_thread_on_the_cores_that_it_had():
    cores = sorted(os.sched_getaffinity(0))
    one = {cores[-1]}
    os.sched_setaffinity(0, one)
    try:
        assert slowest_s(cores) > 0
        assert os.sched_getaffinity(0) == one
    finally:
        os.sched_setaffinity(0, cores)


@pinned
def test_large_machines_are_looked_at_in_a_few_places():
    assert few([0, 1]) == [0, 1]
    assert few([]) == []
    assert few(range(64)) == range(0, 64, 16)
    assert len(few(range(7))) <= MOST_CORES


def test_the_best_pace_is_that_of_all_trials():
    def trial(*kept):
        return Trial({}, Measurement({"steady": (1.0,)}, (), conditions=kept), 1.0, "")

    slow, fast = Condition(BEST_PACE, 0.003), Condition(BEST_PACE, 0.002)
    assert best_pace_s([trial(slow), trial(fast), trial()]) == 0.002
    assert best_pace_s([trial(Condition(PACE, 0.001, "", "steady"))]) is None
