from __future__ import annotations

import os

import pytest

from search_space.trial import Condition, Measurement, Trial
from tuner.pace import MOST_CORES, PACE, Pace, best_pace_s, few, measurable, slowest_s

pinned = pytest.mark.skipif(not measurable(), reason="a thread does not choose its core here")
CORES = sorted(os.sched_getaffinity(0)) if measurable() else []


def trial_at(*paces_s):
    seen = tuple(
        Condition(PACE, pace_s, "", "steady", place) for place, pace_s in enumerate(paces_s)
    )
    return Trial({}, Measurement({"steady": (1.0,)}, (), conditions=seen), 1.0, "")


def test_a_call_beside_which_the_processor_was_slow_is_disturbed():
    pace = Pace([], best_s=0.001)
    (seen,) = pace.seen(0.0011, 0.002)
    assert (seen.kind, seen.value) == (PACE, 0.002)
    assert seen.complaint == "the processor computed at 50% of its pace"
    (seen,) = pace.seen(0.0011, 0.001)
    assert (seen.value, seen.complaint) == (0.0011, "")


def test_what_was_not_measured_is_not_told():
    assert Pace([], best_s=0.001).seen(None, None) == ()
    assert Pace([], best_s=None).seen(None) == ()
    assert Pace([], best_s=None).take() is None


@pinned
def test_the_pace_is_learned_where_it_is_not_known():
    pace = Pace(CORES, best_s=None)
    assert pace.seen(1.0) == ()
    pace.learn()
    (seen,) = pace.seen(1.0)
    assert seen.complaint.startswith("the processor computed at ")


@pinned
def test_a_pace_just_taken_stands_for_now():
    pace = Pace(CORES, best_s=None)
    assert pace.take() == pace.recent()


@pinned
def test_taking_the_pace_leaves_the_thread_on_the_cores_that_it_had():
    one = {CORES[-1]}
    os.sched_setaffinity(0, one)
    try:
        assert slowest_s(CORES) > 0
        assert os.sched_getaffinity(0) == one
    finally:
        os.sched_setaffinity(0, CORES)


def test_large_machines_are_looked_at_in_a_few_places():
    assert few([0, 1]) == [0, 1]
    assert few([]) == []
    assert few(range(64)) == range(0, 64, 16)
    assert len(few(range(7))) <= MOST_CORES


def test_the_best_pace_is_that_of_all_trials():
    assert best_pace_s([trial_at(0.003, 0.002), trial_at(0.004), trial_at()]) == 0.002
    assert best_pace_s([]) is None
