"""Trials that live side by side and compute in turns."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from dataclasses import replace
from threading import Event, Thread

import pytest

from search_space.config import BASELINE
from search_space.trial import Condition, FailureKind, Measurement, Trial
from search_space.workload import Workload
from tests.tuner.trials import TASKS, assert_gone, job, wait_until
from tuner.measuring.interleaving import Alone, next_turn, possible
from tuner.race.paired_calls import comparable
from tuner.runners.base import Deadlines
from tuner.runners.interleaved import run_interleaved
from tuner.runners.watch import Watch

turns_are_possible = pytest.mark.skipif(not possible(), reason="there are no such sockets here")


def jobs(folder, *models):
    return [replace(job(), workload=Workload(model), cache_dir=str(folder)) for model in models]


@pytest.fixture
def run(children, tmp_path):
    """Runs trials of so many calls in turns; what became of them, and what they did in order."""

    def go(*models, trial_s=60.0, **options):
        asked, task = jobs(tmp_path, *models), TASKS + "makes_calls"
        found = run_interleaved(children, asked, Deadlines(trial_s), nobody, task, **options)
        return list(found), (tmp_path / "done").read_text().splitlines()

    return go


def nobody(job, phase):
    """Is told."""


def calls(done):
    return [line.removesuffix(" steady") for line in done if line.endswith(" steady")]


def failures(trials):
    return [trial.outcome for trial in trials if trial.measurement is None]


@turns_are_possible
def test_calls_are_made_in_turns_until_no_trial_needs_more(run):
    trials, done = run("2", "4", "3")
    assert calls(done) == ["2", "4", "3"] * 4
    assert [trial.outcome.turns for trial in trials] == [{"steady": (0, 1, 2, 3)}] * 3


@turns_are_possible
def test_a_round_that_goes_on_numbers_its_turns_from_where_it_was(run):
    trials, _ = run("1", "2", first_turn=7)
    assert [trial.outcome.turns for trial in trials] == [{"steady": (7, 8)}] * 2


def test_the_turns_of_a_round_are_counted():
    def trial(race, round, *turns):
        outcome = Measurement({"steady": (1.0,) * len(turns)}, (), turns={"steady": turns})
        return Trial(BASELINE, outcome, 1.0, "", race=race, round=round)

    trials = [trial("a", 1, 0, 1), trial("a", 1, 0, 1, 2), trial("b", 1, 8), trial("a", 2, 9)]
    assert next_turn(trials, "a", 1) == 3
    assert next_turn(trials, "c", 1) == 0


@turns_are_possible
def test_one_trial_at_a_time_is_at_work(run):
    _, done = run("1", "2")
    phases = ["load", "steady", "steady"]
    in_turns = [f"{number} {phase}" for phase in phases for number in ("1", "2")]
    assert done == [*in_turns, "1 check", "1 end", "2 check", "2 end"]


@turns_are_possible
@pytest.mark.parametrize("way", ["exits", "crashes"])
def test_others_go_on_where_one_is_gone(run, way):
    trials, done = run("2", f"9 {way}", "3")
    (failure,) = failures(trials)
    assert failure.kind is FailureKind.CRASH
    assert calls(done) == ["2", "9", "3", "2", "3", "2", "3"]


@turns_are_possible
def test_a_turn_that_does_not_end_is_the_end_of_its_trial_alone(run, tmp_path):
    trials, done = run("1", "9 hangs", "2", trial_s=6.0)
    (failure,) = failures(trials)
    assert (failure.kind, failure.phase) == (FailureKind.TIMEOUT, "steady")
    assert calls(done) == ["1", "9", "2", "1", "2"]
    assert_gone(*pids(tmp_path))


def test_what_a_trial_waits_is_told_by_itself_however_seldom_one_looks(tmp_path):
    phases = []
    watch = Watch(tmp_path, os.getpid(), phases.append)
    now_s = time.monotonic()
    events = [("turn", -9.0), ("steady", -8.0), ("turn", -7.9), ("steady", -4.9), ("check", -4.0)]
    told = [json.dumps({"phase": phase, "at_s": now_s + at_s}) + "\n" for phase, at_s in events]
    (tmp_path / "events.jsonl").write_text("".join(told))
    watch.update()
    assert phases == [phase for phase, _ in events]
    assert watch.waited_s == pytest.approx(1.0 + 3.0)


@turns_are_possible
def test_an_interrupt_ends_them_all(children, tmp_path):
    def interrupt():
        wait_until(lambda: (tmp_path / "hangs").exists() and len(pids(tmp_path)) == 2)
        if waits.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    asked, task = jobs(tmp_path, "1", "9 hangs"), TASKS + "makes_calls"
    # What is started in the background of a shell ignores interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    waits = Event()
    waits.set()
    Thread(target=interrupt).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            list(run_interleaved(children, asked, Deadlines(60.0), nobody, task))
    finally:
        waits.clear()
        signal.signal(signal.SIGINT, before)
    assert_gone(*pids(tmp_path))


def pids(folder):
    told = [path.read_text() for path in folder.glob("pid of *")]
    return [int(pid) for pid in told if pid.endswith("\n")]


def test_a_trial_alone_makes_the_calls_that_it_needs():
    assert [Alone().another(settled) for settled in (False, True)] == [True, False]
    assert Alone().turn is None


def test_no_turns_are_taken_where_a_socket_cannot_be_made(monkeypatch, tmp_path):
    far = tmp_path / ("long" * 25)
    far.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(far))
    assert not possible()


def measured(calls_s, first_turn=0, disturbed=(), apart=()):
    """Calls in turns; those at the places ``apart`` were disturbed and do not count."""
    seconds, turns, conditions = {"steady": [], "disturbed": []}, {}, []
    for turn, call_s in enumerate(calls_s):
        sample = "disturbed" if turn in apart else "steady"
        place = (sample, len(seconds[sample]))
        seconds[sample].append(call_s)
        busy = "someone" if turn in (*disturbed, *apart) else ""
        turns.setdefault(sample, []).append(first_turn + turn)
        conditions.append(Condition("others_cores", 1.0, busy, *place))
    return Measurement(
        {kind: tuple(samples) for kind, samples in seconds.items()},
        (),
        conditions=tuple(conditions),
        turns={kind: tuple(numbers) for kind, numbers in turns.items()},
    )


def latencies_s(*found):
    return [one.latency_s for one in comparable(found)]


def test_calls_beside_each_other_are_compared_whatever_the_machine_does():
    slow = [1.0, 1.5, 1.2, 3.0, 1.1]
    one_s, other_s = latencies_s(measured(slow), measured([2 * call_s for call_s in slow]))
    assert other_s / one_s == pytest.approx(2.0)
    # A turn that only one of them has made says nothing.
    longer = measured([2 * call_s for call_s in slow] + [90.0])
    one_s, other_s = latencies_s(measured(slow), longer)
    assert other_s / one_s == pytest.approx(2.0)


def test_turns_that_were_calm_for_all_are_compared_where_they_are_enough():
    one = measured([1.0, 1.0, 1.0, 9.0, 1.0], disturbed={3})
    other = measured([8.0, 2.0, 2.0, 2.0, 2.0], disturbed={0})
    assert latencies_s(one, other) == pytest.approx([1.0, 2.0])
    few = measured([2.0, 2.0, 2.0, 2.0, 2.0], disturbed={0, 1, 2})
    one_s, other_s = latencies_s(one, few)
    assert other_s / one_s == pytest.approx(2.0)


def test_single_calls_do_not_move_what_is_compared():
    one, other = measured([1.0] * 8), measured([2.0, 2.0, 60.0] + [2.0] * 5, disturbed=range(8))
    one_s, other_s = latencies_s(one, other)
    assert other_s / one_s == pytest.approx(2.0)


def test_where_each_has_enough_calm_calls_those_that_were_disturbed_are_left_out():
    calls_s = [1.0, 1.0, 1.0, 1.0, 1.0]
    one, other = measured([9.0, 9.0, *calls_s], apart={0, 1}), measured(calls_s, apart={2, 3, 4})
    assert comparable([one, other]) == [one, other]


def test_without_turns_in_common_medians_are_compared():
    one, later = measured([1.0, 2.0, 4.0, 9.0]), measured([1.0, 2.0, 4.0, 9.0], first_turn=100)
    assert comparable([one, later]) == [one, later]
    assert comparable([one]) == [one]
    assert comparable([]) == []


@turns_are_possible
def test_slow_calls_end_after_three_turns(run):
    _, done = run("9", "8", limit_s=0.0)
    assert calls(done) == ["9", "8"] * 3
