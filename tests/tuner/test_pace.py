from __future__ import annotations

import os
import time

import pytest

from search_space.trial import Condition, Measurement, Trial
from tuner.hashing import MOST_CORES, few, slowest_s
from tuner.noise import Guard
from tuner.pace import BEST_PACE, PACE, ROUNDS, WITHIN, WORK, Pace, best_pace_s
from tuner.pace_within import Within

pinned = pytest.mark.skipif(not few([0]), reason="a thread does not choose its core here")
SLOW = "the processor computed at 50% of its best pace"


def complaints(conditions, kind=PACE):
    return [seen.complaint for seen in conditions if seen.kind == kind]


def test_a_call_beside_which_the_processor_was_slow_is_disturbed():
    pace = Pace([], best_s=0.001)
    (seen,) = pace.seen(0.002, None)
    assert (seen.kind, seen.value, seen.complaint) == (PACE, 0.002, SLOW)
    (seen,) = pace.seen(0.0011, None)
    assert (seen.value, seen.complaint) == (0.0011, "")


def test_what_was_not_measured_is_not_told():
    assert Pace([], best_s=0.001).seen(None, None) == ()
    assert Pace([]).own() == ()


def test_without_a_pace_to_compare_with_nothing_is_slow():
    assert complaints(Pace([]).seen(1.0, 1.0)) == [""]


@pytest.mark.parametrize("cores", [[], [0], [10**6]], ids=["here", "chosen", "not there"])
def test_the_work_takes_time_wherever_it_is_done(cores):
    pace = Pace(cores)
    pace.begin()
    (beside,) = pace.end()
    (own,) = pace.own()
    assert (own.kind, own.value) == (BEST_PACE, pace.best_s)
    assert 0 < own.value <= beside.value


def test_calls_are_judged_anew_once_a_better_pace_is_known():
    pace = Pace([])
    pace.begin()
    before = (Condition("others_cores", 0.0), *pace.seen(2 * pace.best_s, None))
    assert complaints(before) == [SLOW]
    first = Pace([]).seen(2 * pace.best_s, None)
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


def test_a_call_within_which_the_processor_was_slow_is_disturbed():
    pace = Pace([])
    odd = pace.called(None, 0.0005)
    assert complaints(odd, WITHIN) == [""]  # One call alone may be an odd one.
    pace.called(None, 0.0011)
    slow = pace.called(None, 0.002)
    assert complaints(slow, WITHIN) == ["the processor computed at 55% of its best pace"]
    pace.called(None, 0.001)
    assert complaints(pace.judged(slow), WITHIN) == [SLOW]
    assert complaints(pace.called(None, 0.00109), WITHIN) == [""]


def test_what_is_seen_at_rest_is_no_measure_of_a_call():
    pace = Pace([])
    pace.called(None, 0.002)
    pace.seen(None, 0.001)
    pace.seen(None, 0.001)
    assert complaints(pace.called(None, 0.002), WITHIN) == [""]


@pinned
def test_a_guard_looks_within_a_call_and_at_rest():
    guard = Guard("cpu")
    for _ in range(2):
        guard.begin()
        time.sleep(0.5)
        (within,) = [seen for seen in guard.end() if seen.kind == WITHIN]
    assert 0 < within.value < 0.5
    assert {seen.kind for seen in guard.pace.resting(0.5)} == {PACE, WITHIN}


@pinned
def test_a_call_is_looked_at_from_within():
    within = Within([0])
    within.start()
    time.sleep(1.0)
    assert 0 < within.stop() < 1.0
    time.sleep(0.2)
    within.start()
    assert within.stop() is None  # Nothing is left of the looks before.


def test_without_a_core_to_choose_nothing_is_seen_within():
    within = Within([])
    within.start()
    time.sleep(0.1)
    assert within.stop() is None


@pinned
def test_taking_the_pace_leaves_the_thread_on_the_cores_that_it_had():
    cores = sorted(os.sched_getaffinity(0))
    one = {cores[-1]}
    os.sched_setaffinity(0, one)
    try:
        assert slowest_s(cores, WORK, ROUNDS) > 0
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
