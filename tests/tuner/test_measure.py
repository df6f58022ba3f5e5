from __future__ import annotations

import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from search_space.trial import Condition
from tuner.measuring.calls import MAXIMUM_CALLS, MAXIMUM_REPEATS, Call, half_width_s, measure


class Neighbour:
    """A machine on which someone is at work during the calls that are named."""

    def __init__(self, *calls, calms=True):
        self.busy = calls
        self.calms = calms
        self.made = 0
        self.waits = 0

    def begin(self):
        self.made += 1

    def end(self):
        at_work = self.made in self.busy
        return (Condition("others_cores", float(at_work), "someone" if at_work else ""),)

    def judge(self, conditions):
        return conditions

    def wait_until_calm(self):
        self.waits += 1
        return self.calms


def replay(*calls_s):
    left = list(calls_s)
    return lambda: Call(None, left.pop(0), {"text_encoding": (0.01,), "step": (0.1, 0.2)})


def timed(*calls_s, device="cpu", cap_s=None, guard=None):
    phases = []
    call, first = replay(*calls_s), nullcontext()
    found = measure(call, phases.append, device, cap_s, first, guard or Neighbour())
    return found, phases


def seconds_of(*calls_s, **options):
    found, phases = timed(*calls_s, **options)
    return found.seconds, phases


def test_first_call_warm_up_and_steady_calls_are_kept_apart():
    seconds, phases = seconds_of(5.0, 1.0, 1.01, 1.0, 1.0, 1.0)
    assert seconds["first_call"] == (5.0,)
    assert seconds["second_call"] == (1.0,)
    assert seconds["warm_up"] == (1.01,)
    assert seconds["steady"] == (1.0, 1.0, 1.0)
    assert phases == ["first_call", "second_call", "warm_up", "steady", "steady", "steady"]


def test_warm_up_ends_after_three_calls_whatever_they_do():
    seconds, _ = seconds_of(9.0, 5.0, 3.0, 2.0, 1.0, 1.0, 1.0)
    assert (seconds["second_call"], seconds["warm_up"]) == ((5.0,), (3.0, 2.0))


def test_an_accelerator_has_time_to_record_its_graphs():
    seconds, _ = seconds_of(9.0, 7.0, 5.0, 3.0, 2.0, 1.0, 1.0, 1.0, 1.0, device="cuda")
    assert seconds["warm_up"] == (5.0, 3.0, 2.0, 1.0)


def test_the_stages_of_every_steady_call_are_kept():
    seconds, _ = seconds_of(2.0, 2.0, 1.0, 1.0, 1.0)
    assert seconds["text_encoding"] == (0.01,) * 3
    assert seconds["step"] == (0.1, 0.2) * 3


def test_noise_asks_for_more_samples_up_to_ten():
    noisy = [1.0, 1.5] * 10
    seconds, _ = seconds_of(1.0, 1.0, *noisy)
    assert len(seconds["steady"]) == 10


def test_long_calls_stop_after_three_samples_though_noisy():
    seconds, _ = seconds_of(20.0, 20.0, 20.0, 30.0, 25.0)
    assert seconds["steady"] == (20.0, 30.0, 25.0)


class Others:
    """Trials that are done with so many turns, and number them."""

    def __init__(self, turns):
        self.turns = turns
        self.turn = -1

    def another(self, settled):
        self.turn += 1
        return not settled or self.turn < self.turns


@pytest.mark.parametrize(("turns", "made"), [(1, 3), (5, 5)])
def test_calls_go_on_until_no_trial_needs_more(turns, made):
    call, first = replay(*[1.0] * 9), nullcontext()
    others = Others(turns)
    found = measure(call, lambda phase: None, "cpu", None, first, Neighbour(), others)
    assert len(found.seconds["steady"]) == made
    assert found.turns == {"steady": tuple(range(made))}


def test_a_call_that_cannot_win_is_the_last():
    seconds, _ = seconds_of(4.0, 4.0, 4.0, cap_s=3.0)
    assert seconds["steady"] == (4.0,)


def test_an_accelerator_is_measured_more_narrowly():
    spread = [1.0, 1.012, 1.024] * 4
    on_cpu, _ = seconds_of(1.0, 1.0, *spread)
    on_gpu, _ = seconds_of(1.0, 1.0, *spread, device="cuda")
    assert len(on_gpu["steady"]) > len(on_cpu["steady"])


def test_the_interval_of_few_samples_is_wide():
    # Two samples say little: a fifth of them lies further off than the difference.
    assert half_width_s([1.0, 1.1]) > 0.1
    assert half_width_s([1.0, 1.1] * 5) < half_width_s([1.0, 1.1] * 2)
    assert half_width_s([1.0, 1.1] * 10) < half_width_s([1.0, 1.1] * 5)


def test_a_disturbed_call_is_kept_apart_waited_out_and_repeated():
    neighbour = Neighbour(4)
    found, phases = timed(2.0, 2.0, 1.0, 9.0, 1.0, 1.0, guard=neighbour)
    assert found.seconds["steady"] == (1.0, 1.0, 1.0)
    assert found.seconds["disturbed"] == (9.0,)
    assert phases[-4:] == ["steady", "wait", "steady", "steady"]
    marked = [seen for seen in found.conditions if seen.complaint]
    assert [(seen.sample, seen.position) for seen in marked] == [("disturbed", 0)]
    assert len(found.seconds["step"]) == 2 * 3


def test_a_disturbed_call_does_not_end_the_trial_by_its_slowness():
    seconds, _ = seconds_of(2.0, 2.0, 9.0, 1.0, 1.0, 1.0, cap_s=3.0, guard=Neighbour(3))
    assert seconds["steady"] == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(("third_s", "steady"), [(9.0, 1), (1.0, 3)])
def test_disturbed_calls_beyond_the_cap_are_made_again_twice(third_s, steady):
    neighbour = Neighbour(3, 4, 5, calms=False)
    found, _ = timed(2.0, 2.0, 9.0, 9.0, third_s, *[1.0] * 9, cap_s=3.0, guard=neighbour)
    assert len(found.seconds["steady"]) == steady
    assert found.seconds["disturbed"][:2] == (9.0, 9.0)


def test_repeats_have_an_end_and_what_remains_is_marked():
    neighbour = Neighbour(*range(3, 100))
    found, _ = timed(*[1.0] * 20, guard=neighbour)
    assert len(found.seconds["disturbed"]) == neighbour.waits == MAXIMUM_REPEATS
    marked = [seen for seen in found.conditions if seen.complaint and seen.sample == "steady"]
    assert [seen.position for seen in marked] == [0, 1, 2]


def test_where_no_calm_returns_the_call_counts_and_is_marked():
    found, _ = timed(1.0, 1.0, 1.0, 1.0, 1.0, guard=Neighbour(4, calms=False))
    assert found.seconds["disturbed"] == ()
    assert [seen.position for seen in found.conditions if seen.complaint] == [1]


def test_three_calm_calls_count_alone_though_calm_did_not_last():
    neighbour = Neighbour(3, 5, 7, calms=False)
    found, _ = timed(1.0, 1.0, 8.0, 1.0, 9.0, 1.0, 7.0, 1.0, guard=neighbour)
    assert found.seconds["steady"] == (1.0, 1.0, 1.0)
    assert found.seconds["disturbed"] == (8.0, 9.0, 7.0)
    marked = [seen for seen in found.conditions if seen.complaint]
    assert [(seen.sample, seen.position) for seen in marked] == [
        ("disturbed", place) for place in range(3)
    ]
    assert len(found.seconds["step"]) == 2 * 3


def test_more_calls_are_made_until_three_were_calm():
    neighbour = Neighbour(*range(3, 17), calms=False)
    found, _ = timed(1.0, 1.0, *[1.0, 1.5] * 7, 1.0, 1.0, 1.0, guard=neighbour)
    assert found.seconds["steady"] == (1.0, 1.0, 1.0)
    assert len(found.seconds["disturbed"]) == 14
    assert neighbour.waits == 1


def test_calls_end_though_none_was_calm():
    neighbour = Neighbour(*range(3, 100), calms=False)
    found, _ = timed(1.0, 1.0, *[1.0, 1.5] * 20, guard=neighbour)
    assert len(found.seconds["steady"]) == MAXIMUM_CALLS


def test_ten_calm_calls_are_enough_whatever_was_disturbed():
    neighbour = Neighbour(3, 4, calms=False)
    found, _ = timed(1.0, 1.0, 9.0, 9.0, *[1.0, 1.5] * 20, guard=neighbour)
    assert found.seconds["steady"] == (1.0, 1.5) * 5


@pytest.mark.parametrize(("compiled", "marks"), [(2, []), (4, [1.0])])
def test_compiling_while_calls_count_is_seen(monkeypatch, compiled, marks):
    counters = {"frames": {"total": 0}}
    monkeypatch.setitem(sys.modules, "torch._dynamo.utils", SimpleNamespace(counters=counters))
    made, call = [], replay(*[1.0] * 20)

    def compiling():
        made.append(1)
        counters["frames"]["total"] += len(made) < 3 or len(made) == compiled
        return call()

    found = measure(compiling, lambda phase: None, "cpu", None, nullcontext(), Neighbour())
    assert [seen.value for seen in found.conditions if seen.kind == "recompiles"] == marks
