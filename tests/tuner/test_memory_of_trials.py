"""The memory of a trial's processes: what counts, and what becomes of those that take too much."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from search_space.budget import Budget
from search_space.trial import FailureKind, Peak
from tests.tuner.trials import TASKS, job, run
from tuner.measuring.memory.limits import stop_bytes
from tuner.runners.base import Deadlines
from tuner.runners.trial_process import run_trial, with_descendants

MIB = 2**20
linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's account is Linux's")


def test_a_trial_ends_itself_over_the_budget_of_a_device_without_a_limit(children):
    asked = replace(job(budget=Budget(2**30)), device="hpu")
    task = TASKS + "fills_a_device"
    failure = run_trial(children, asked, Deadlines(60.0), lambda phase: None, task).outcome
    assert (failure.kind, failure.phase) == (FailureKind.DEVICE_OUT_OF_MEMORY, "load")
    assert failure.peak_bytes == 1100 * 2**20
    assert failure.message == "it held 1.07 GiB of the device"


def test_memory_of_descendants_counts(children):
    measurement = run(children, "allocates_in_grandchild").outcome
    assert measurement.peak_bytes > 300 * 2**20


@linux
def test_memory_that_is_held_for_a_moment_while_loading_is_seen(children):
    measurement = run(children, "spikes_while_loading").outcome
    assert 500 * MIB < measurement.peak_bytes < 1100 * MIB


@linux
def test_files_that_are_read_once_do_not_count_and_those_in_use_do(children):
    peaks = run(children, "maps_weights").outcome.peaks
    found = {(peak.place, peak.phase): peak.peak_bytes for peak in peaks}
    assert found["host_resident", "load"] - found["host", "load"] > 250 * MIB
    assert found["host", "steady"] - found["host", "load"] > 50 * MIB


@linux
@pytest.mark.parametrize("task", ["runs_away", "runs_away_in_grandchild"])
def test_a_runaway_is_stopped_long_before_the_machine_is_full(children, task):
    budget = Budget(host_bytes=200 * MIB)
    failure = run(children, task, budget=budget).outcome
    assert (failure.kind, failure.phase) == (FailureKind.HOST_OUT_OF_MEMORY, "load")
    stop = stop_bytes(budget, "cpu")
    assert stop < failure.peak_bytes < stop + 800 * MIB
    assert "far over the budget" in failure.message


@linux
def test_what_is_far_over_the_budget_fails_with_its_phase(children):
    failure = run(children, "runs_into_its_limit", budget=Budget(200 * MIB)).outcome
    assert (failure.kind, failure.phase) == (FailureKind.HOST_OUT_OF_MEMORY, "load")
    assert "can't allocate memory" in failure.message
    assert 0 < failure.peak_bytes < 2**30


@linux
def test_an_error_near_the_limit_is_taken_to_be_for_want_of_memory(children):
    failure = run(children, "fails_in_other_words").outcome
    assert (failure.kind, failure.phase) == (FailureKind.HOST_OUT_OF_MEMORY, "first_call")
    assert failure.peak_bytes > 0


def test_a_library_that_gives_up_for_memory_is_no_crash(children):
    failure = run(children, "gives_up_for_memory").outcome
    assert (failure.kind, failure.phase) == (FailureKind.HOST_OUT_OF_MEMORY, "first_call")


@linux
def test_the_kernel_is_asked_to_kill_the_trial_first(children):
    assert children.call(TASKS + "told_to_go_first", {}) == {"oom_score_adj": 1000}


def test_descendants_count_in_the_phase_in_which_they_were():
    peaks = [
        Peak("host", "load", "VmHWM less RssFile", 100),
        Peak("host_resident", "first_call", "VmHWM", 150),
        Peak("host", "first_call", "VmHWM", 200),
        Peak("host", "warm_up", "VmHWM", 220),
        Peak("device", "first_call", "max_memory_reserved", 7),
    ]
    found = with_descendants(peaks, {"first_call": 230, "warm_up": 210, "check": 400})
    sizes = {(peak.place, peak.phase): peak.peak_bytes for peak in found}
    assert sizes["host", "load"] == 100
    assert sizes["host", "first_call"] == 230
    assert sizes["host", "warm_up"] == 220
    assert sizes["host_resident", "first_call"] == 150
    assert sizes["device", "first_call"] == 7
    assert max(sizes.values()) == 230
