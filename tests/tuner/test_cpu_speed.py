from __future__ import annotations

import os
import threading
import time

import pytest

from search_space.config import Config
from search_space.trial import Condition, Measurement, Trial
from tuner.measuring.noise.cpu_speed import (
    BEST_PROBE,
    BEST_WITHIN,
    LEAST_LOOKS,
    LEAST_ROUNDS,
    PROBE,
    ROUNDS,
    WITHIN,
    WORK,
    SpeedProbe,
    affordable_rounds,
    best_probe_s,
)
from tuner.measuring.noise.cpu_speed_within import Within, may_be_shared
from tuner.measuring.noise.guard import Guard
from tuner.measuring.noise.hashing import MOST_CORES, few, slowest_s

pinned = pytest.mark.skipif(not few([0]), reason="a thread does not choose its core here")
SLOW = "the processor computed at 50% of its best speed"


def complaints(conditions, kind=PROBE):
    return [seen.complaint for seen in conditions if seen.kind == kind]


def test_a_call_beside_which_the_processor_was_slow_is_disturbed():
    probe = SpeedProbe([], best_s=0.001)
    (seen,) = probe.conditions_of_call(0.002, [])
    assert (seen.kind, seen.value, seen.complaint) == (PROBE, 0.002, SLOW)
    (seen,) = probe.conditions_of_call(0.0011, [])
    assert (seen.value, seen.complaint) == (0.0011, "")


def test_what_was_not_measured_is_not_told():
    assert (
        SpeedProbe([], best_s=0.001).conditions_of_call(None, [[0.001] * (LEAST_LOOKS - 1)]) == ()
    )
    assert SpeedProbe([]).best_conditions() == ()


def test_without_a_pace_to_compare_with_nothing_is_slow():
    assert complaints(SpeedProbe([]).conditions_of_call(1.0, [])) == [""]


@pytest.mark.parametrize("cores", [[], [0], [10**6]], ids=["here", "chosen", "not there"])
def test_the_work_takes_time_wherever_it_is_done(cores):
    probe = SpeedProbe(cores)
    probe.begin()
    (beside,) = probe.end()
    (own,) = probe.best_conditions()
    assert (own.kind, own.value) == (BEST_PROBE, probe.best_s)
    assert 0 < own.value <= beside.value


def test_calls_are_judged_anew_once_a_better_pace_is_known():
    probe = SpeedProbe([])
    probe.begin()
    before = (Condition("others_cores", 0.0), *probe.conditions_of_call(2 * probe.best_s, []))
    assert complaints(before) == [SLOW]
    first = SpeedProbe([]).conditions_of_call(2 * probe.best_s, [])
    assert complaints(first) == [""]
    assert probe.judge((Condition("others_cores", 0.0), *first)) == before


@pytest.mark.parametrize(
    ("call_s", "work_s", "rounds"),
    [(60.0, 0.001, 8), (2.0, 0.001, 5), (0.05, 0.001, LEAST_ROUNDS), (0.05, 0.0, ROUNDS)],
)
def test_a_short_call_has_less_work_beside_it(call_s, work_s, rounds):
    assert affordable_rounds(call_s, work_s) == rounds


def test_a_guard_tells_the_pace_and_judges_it():
    guard = Guard("cpu", probe_s=1e-9)
    guard.begin()
    seen = guard.end()
    (complaint,) = complaints(seen)
    assert complaint == "the processor computed at 0% of its best speed"
    assert guard.judge(seen) == seen
    assert not guard.wait_until_calm()


def looked(probe, *looks_s):
    return probe.conditions_of_call(None, [[*looks_s] * 10])


@pytest.fixture
def probe():
    """One after the first call, whose looks are no measure of others."""
    found = SpeedProbe([])
    assert complaints(looked(found, 0.0001), WITHIN) == [""]
    return found


def test_a_call_within_which_the_processor_was_slow_is_disturbed(probe):
    assert complaints(looked(probe, 0.001), WITHIN) == [""]
    assert complaints(looked(probe, 0.001, 0.003), WITHIN) == [f"{SLOW} within calls"]
    assert complaints(looked(probe, 0.001, 0.00115), WITHIN) == [""]


def test_what_was_slow_within_is_seen_once_better_looks_are_known(probe):
    first = looked(probe, 0.002)
    assert complaints(first, WITHIN) == [""]
    looked(probe, 0.001)
    assert complaints(probe.judge(first), WITHIN) == [f"{SLOW} within calls"]
    assert probe.best_conditions() == (Condition(BEST_WITHIN, pytest.approx(0.001)),)


def test_a_call_is_as_slow_as_the_slowest_core(probe):
    cores_s = [[0.001] * 10] * 3 + [[0.002] * 10]
    (seen,) = probe.conditions_of_call(None, cores_s)
    assert (seen.value, seen.complaint) == (0.002, f"{SLOW} within calls")


def test_the_best_of_few_looks_is_one_of_them(probe):
    looks_s = [0.001, 0.002, 0.003, 0.004, 0.005]
    probe.conditions_of_call(None, [looks_s])
    (best,) = probe.best_conditions()
    assert 0.001 <= best.value < 0.002


@pytest.mark.parametrize(
    ("flags", "siblings", "shared"),
    [
        ("fpu hypervisor vme", ["0", "1"], True),
        ("fpu hypervisor vme", ["0-1", "0-1"], False),
        ("fpu hypervisor vme", ["0,2", "1,3"], False),
        ("fpu vme", ["0", "1"], False),
        ("fpu hypervisor vme", ["0"], False),
    ],
    ids=["shared", "threads", "threads apart", "no virtual machine", "unknown"],
)
def test_others_may_be_on_the_cores_of_a_virtual_machine_without_threads(
    tmp_path, flags, siblings, shared
):
    processors = tmp_path / "cpuinfo"
    processors.write_text(f"processor : 0\nflags\t\t: {flags}\n")
    for core, listed in enumerate(siblings):
        folder = tmp_path / f"cpu{core}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{listed}\n")
    assert may_be_shared([0, 1], processors, tmp_path) is shared


@pytest.mark.skipif(not may_be_shared(few([0])), reason="nobody else can be on these cores")
def test_a_guard_looks_within_a_call_until_it_is_closed():
    before = threading.active_count()
    guard = Guard("cpu")
    guard.begin()
    time.sleep(1.0)
    (within,) = [seen for seen in guard.end() if seen.kind == WITHIN]
    assert 0 < within.value < 0.5
    assert threading.active_count() > before
    guard.close()
    assert threading.active_count() == before


@pinned
def test_each_core_is_looked_at_within_a_call():
    cores = sorted(os.sched_getaffinity(0))[:2]
    within = Within(cores)
    within.start()
    time.sleep(1.0)
    looks_s = within.stop()
    assert len(looks_s) == len(cores)
    assert all(len(of_core_s) >= LEAST_LOOKS and min(of_core_s) > 0 for of_core_s in looks_s)
    time.sleep(0.2)
    within.start()
    assert within.stop() == [[] for _ in cores]  # Nothing is left of the looks before.
    within.close()


def test_at_rest_the_pace_alone_is_judged():
    (seen,) = SpeedProbe([], best_s=1e-9).probe_at_rest(0.1)
    assert (seen.kind, seen.complaint) == (PROBE, "the processor computed at 0% of its best speed")


def test_without_a_core_to_choose_nothing_is_seen_within():
    within = Within([])
    within.start()
    assert within.stop() == []
    within.close()


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


def test_work_that_is_done_fast_enough_is_done_once():
    began_s = time.thread_time()
    once_s = slowest_s([], WORK, 1000, enough_s=1.0)
    assert once_s <= time.thread_time() - began_s < 100 * once_s


@pinned
def test_large_machines_are_looked_at_in_a_few_places():
    assert few([0, 1]) == [0, 1]
    assert few([]) == []
    assert few(range(64)) == range(0, 64, 16)
    assert len(few(range(7))) <= MOST_CORES


def test_the_best_pace_is_that_of_all_trials():
    def trial(*kept):
        return Trial(Config({}), Measurement({"steady": (1.0,)}, (), conditions=kept), 1.0, "")

    slow, fast = Condition(BEST_PROBE, 0.003), Condition(BEST_PROBE, 0.002)
    assert best_probe_s([trial(slow), trial(fast), trial()]) == 0.002
    assert best_probe_s([trial(Condition(PROBE, 0.001, "", "steady"))]) is None
