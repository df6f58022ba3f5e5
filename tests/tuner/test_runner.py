"""A trial in a process of its own: its outcome, its phases and its deadlines."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from search_space.trial import Failure, FailureKind, Measurement
from tests.tuner.trials import assert_gone, run
from tuner.processes.children import Children
from tuner.runners.base import Deadlines


def test_a_measurement_comes_back_with_every_sample(children):
    trial = run(children, "measured")
    assert isinstance(trial.outcome, Measurement)
    assert trial.outcome.seconds["steady"] == (0.1, 0.3, 0.2)
    assert trial.outcome.latency_s == 0.2
    assert "step" not in trial.outcome.seconds
    assert trial.outcome.peak_bytes == 2**20
    assert trial.cost_s > 0


def test_phases_are_told_and_a_late_one_is_a_timeout_with_its_log(children):
    seen = []
    trial = run(children, "hangs", call_s=0.5, on_phase=seen.append)
    assert isinstance(trial.outcome, Failure)
    assert trial.outcome.kind is FailureKind.TIMEOUT
    assert trial.outcome.phase == "steady"
    assert "about to hang" in trial.outcome.log
    assert seen == ["load", "steady"]


def test_the_whole_trial_has_a_deadline_too(children):
    began_s = time.monotonic()
    trial = run(children, "hangs", trial_s=8.0)
    assert trial.outcome.kind is FailureKind.TIMEOUT
    assert 7.0 < time.monotonic() - began_s < 20.0


def test_what_else_was_at_work_is_kept_with_a_timeout(children):
    (seen,) = run(children, "hangs", call_s=0.5).outcome.conditions
    assert seen.kind == "others_cores"
    assert seen.value >= 0


@pytest.mark.parametrize(
    ("task", "phase", "message"),
    [("segfaults", "first_call", "killed by SIGSEGV"), ("exits", "start", "exit code 7")],
)
def test_a_death_is_a_crash_with_its_cause(children, task, phase, message):
    failure = run(children, task).outcome
    assert (failure.kind, failure.phase) == (FailureKind.CRASH, phase)
    assert message in failure.message


def test_an_exception_outside_the_trial_is_a_crash_with_its_traceback(children):
    failure = run(children, "raises").outcome
    assert failure.kind is FailureKind.CRASH
    assert "nobody expected this" in failure.log


def test_the_tree_of_a_timed_out_trial_is_killed(children, tmp_path, monkeypatch):
    monkeypatch.setenv("SEEN_IN", str(tmp_path))
    with Children(forks=children.forks) as fresh:
        trial = run(fresh, "hangs_with_grandchild", trial_s=9.0)
    assert trial.outcome.kind is FailureKind.TIMEOUT
    child, grandchild, folder = (tmp_path / "pids").read_text().split()
    assert_gone(int(child), int(grandchild))
    assert not Path(folder).exists()


def test_engines_may_compile_in_their_first_calls_and_nothing_else_may():
    deadlines = Deadlines(trial_s=600.0, call_s=10.0)
    compiled = {"engine": "compile-default"}
    assert deadlines.phase_s("first_call", {}) == 10.0
    assert deadlines.phase_s("first_call", compiled) == 600.0
    assert deadlines.phase_s("record", compiled) == 10.0
    assert deadlines.phase_s("steady", compiled) == 10.0
    assert deadlines.phase_s("load", {}) == 600.0


@pytest.mark.parametrize(
    ("then", "now", "factor"),
    [
        (0.0, 0.0, 1.0),
        (0.0, 0.2, 1.0),  # Less than what counts as a neighbour.
        (0.0, 1.0, 30.0),
        (0.0, 2.0, 30.0),
        (1.0, 1.5, 30.0),
        (1.5, 1.0, 1.0),  # Quieter than while the limit was found.
    ],
)
def test_a_deadline_is_widened_where_a_neighbour_has_come_since(then, now, factor):
    deadlines = Deadlines(600.0, call_s=10.0, others_cores=then)
    widened = deadlines.widened(now, cores=2)
    assert widened.call_s == pytest.approx(10.0 * factor)
    assert widened.trial_s == 600.0
    assert Deadlines(600.0).widened(2.0, cores=2) == Deadlines(600.0)
