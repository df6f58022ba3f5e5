from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest

from search_space.trial import Condition, Measurement
from tuner.measuring.caller import whole_call_s
from tuner.measuring.calls import Call, measure
from tuner.measuring.precision import MAXIMUM_SAMPLES, MOST_SEARCHED, Precision
from tuner.records.statistics import half_width_s

SEARCH = Precision(precise=False)


class Neighbour:
    """A machine on which someone is at work during the calls that are named."""

    def __init__(self, *calls):
        self.busy = calls
        self.made = 0

    def begin(self):
        self.made += 1

    def end(self):
        at_work = self.made in self.busy
        return (Condition("others_cores", float(at_work), "someone" if at_work else ""),)


def replay(*calls_s):
    left = list(calls_s)
    return lambda: Call(None, left.pop(0), {"text_encoding": (0.01,), "step": (0.1, 0.2)})


def timed(*calls_s, device="cpu", precision=None, guard=None, turns=None):
    phases = []
    call, first = replay(*calls_s), nullcontext()
    watch = guard or Neighbour()
    found = measure(call, phases.append, device, precision or Precision(), first, watch, turns)
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
    seconds, _ = seconds_of(0.9, 0.5, 0.3, 0.2, 0.1, 0.1, 0.1)
    assert (seconds["second_call"], seconds["warm_up"]) == ((0.5,), (0.3, 0.2))


def test_warm_up_of_long_calls_ends_at_once():
    seconds, _ = seconds_of(30.0, 20.0, 10.0, 10.0, 10.0)
    assert (seconds["second_call"], "warm_up" in seconds) == ((20.0,), False)


def test_an_accelerator_has_time_to_record_its_graphs():
    seconds, _ = seconds_of(0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1, device="cuda")
    assert seconds["warm_up"] == (0.5, 0.3, 0.2, 0.1)


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


def test_after_the_first_call_a_search_goes_on_with_short_ones():
    short_s = [1.0, 1.1, 1.2, 1.3]

    def whole():
        return Call("image", 5.0)

    def short():
        call_s = short_s.pop(0)
        return Call("short", 4 * call_s, {"step": (0.1,)}, short_s=call_s)

    first, watch = nullcontext(), Neighbour()
    found = measure(whole, lambda phase: None, "cpu", SEARCH, first, watch, short=short)
    assert found.seconds["steady"] == pytest.approx((4.4, 4.8, 5.2))
    assert found.seconds["short"] == (1.1, 1.2, 1.3)
    assert found.output == "image"


def test_a_whole_call_is_told_by_its_steps_and_what_else_is_in_it():
    parts_s = {"text_encoding": (0.5,), "step": (1.2, 1.0, 1.0, 1.0), "decode": (2.0,)}
    assert whole_call_s(6.7, parts_s, 30) == pytest.approx(6.7 + 26 * 1.0)
    assert whole_call_s(6.7, {}, 30) == 6.7


class Others:
    """Trials that are done with so many turns, and number them."""

    def __init__(self, turns):
        self.incumbent_s = {}
        self.turns = turns
        self.turn = -1

    def another(self, settled):
        self.turn += 1
        return not settled or self.turn < self.turns


@pytest.mark.parametrize(("turns", "made"), [(1, 3), (5, 5)])
def test_calls_go_on_until_no_trial_needs_more(turns, made):
    found, _ = timed(*[1.0] * 9, turns=Others(turns))
    assert len(found.seconds["steady"]) == made
    assert found.turns == {"steady": tuple(range(made))}


class Incumbent(Others):
    """One that makes a call ahead of each, and may be gone after so many."""

    def __init__(self, *calls_s):
        super().__init__(0)
        self.calls_s = calls_s

    def another(self, settled):
        goes_on = super().another(settled)
        if goes_on and self.turn < len(self.calls_s):
            self.incumbent_s[self.turn] = self.calls_s[self.turn]
        return goes_on


def test_a_search_makes_three_calls_after_the_second():
    found, phases = timed(5.0, 2.0, 1.0, 1.5, 9.0, precision=SEARCH)
    assert phases == ["first_call", "second_call", "steady", "steady", "steady"]
    assert found.seconds["steady"] == (1.0, 1.5, 9.0)


def test_a_search_lets_an_accelerator_record_its_graphs():
    _, phases = timed(*[1.0] * 6, device="cuda", precision=SEARCH)
    assert phases == ["first_call", "second_call", "warm_up", *["steady"] * 3]


def test_a_call_that_cannot_win_is_the_last():
    found, _ = timed(4.0, 4.0, 4.0, precision=replace(SEARCH, cap_s=3.0))
    assert (found.seconds["steady"], found.may_win) == ((4.0,), False)
    assert timed(2.0, 2.0, 2.0, 2.0, 2.0, precision=replace(SEARCH, cap_s=3.0))[0].may_win


def test_of_long_calls_two_are_enough():
    found, _ = timed(*[26.0] * 9, precision=SEARCH)
    assert found.seconds["steady"] == (26.0, 26.0)


@pytest.mark.parametrize(("then_s", "steady"), [(9.0, (9.0, 9.0)), (1.0, (9.0, 1.0, 1.0))])
def test_of_a_disturbed_call_beyond_the_cap_a_second_one_decides(then_s, steady):
    capped = replace(SEARCH, cap_s=3.0)
    found, _ = timed(2.0, 2.0, 9.0, then_s, 1.0, precision=capped, guard=Neighbour(3))
    assert found.seconds["steady"] == steady


@pytest.mark.parametrize(("reach_s", "made"), [(5.0, 3), (1.16, MOST_SEARCHED)])
def test_more_calls_are_made_only_where_it_is_open_who_is_a_finalist(reach_s, made):
    calls_s = [1.0, 1.0, 1.1, 1.2, 1.3, 1.1, 1.2, 1.3]
    found, _ = timed(*calls_s, precision=replace(SEARCH, reach_s=reach_s))
    assert len(found.seconds["steady"]) == made


def test_beside_the_incumbent_a_call_counts_as_its_ratio_to_the_incumbents():
    # The machine is slowed three times in the second turn: for both.
    precision = replace(SEARCH, cap_s=1.5, beside_s=1.0)
    found, _ = timed(9.0, 9.0, 4.0, 12.0, 4.4, precision=precision, turns=Incumbent(5.0, 15.0, 5.0))
    seen = Measurement(found.seconds, (), turns=found.turns)
    assert seen.ratios == pytest.approx([0.8, 0.8, 0.88])
    assert seen.call_s == pytest.approx(0.8 * 1.0)
    assert found.turns["incumbent"] == found.turns["steady"] == (0, 1, 2)


def test_an_incumbent_that_goes_is_done_without():
    precision = replace(SEARCH, beside_s=1.0)
    found, _ = timed(*[2.0] * 20, precision=precision, turns=Incumbent(4.0))
    assert found.seconds["incumbent"] == (4.0,)
    assert len(found.seconds["steady"]) == MOST_SEARCHED
    assert Measurement(found.seconds, (), turns=found.turns).call_s == pytest.approx(0.5)


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


def test_three_calm_calls_count_alone():
    found, _ = timed(1.0, 1.0, 8.0, 1.0, 9.0, 1.0, 7.0, 1.0, guard=Neighbour(3, 5, 7))
    assert found.seconds["steady"] == (1.0, 1.0, 1.0)
    assert found.seconds["disturbed"] == (8.0, 9.0, 7.0)
    marked = [seen for seen in found.conditions if seen.complaint]
    assert [(seen.sample, seen.position) for seen in marked] == [
        ("disturbed", place) for place in range(3)
    ]
    assert len(found.seconds["step"]) == 2 * 3


def test_where_too_few_calls_were_calm_all_count_and_are_marked():
    found, _ = timed(1.0, 1.0, 1.0, 1.0, 1.0, guard=Neighbour(4))
    assert "disturbed" not in found.seconds
    assert [seen.position for seen in found.conditions if seen.complaint] == [1]


def test_calls_end_though_none_was_calm():
    found, _ = timed(1.0, 1.0, *[1.0, 1.5] * 20, guard=Neighbour(*range(3, 100)))
    assert len(found.seconds["steady"]) == MAXIMUM_SAMPLES


@pytest.mark.parametrize(("compiled", "marks"), [(2, []), (4, [1.0])])
def test_compiling_while_calls_count_is_seen(monkeypatch, compiled, marks):
    counters = {"frames": {"total": 0}}
    monkeypatch.setitem(sys.modules, "torch._dynamo.utils", SimpleNamespace(counters=counters))
    made, call = [], replay(*[1.0] * 20)

    def compiling():
        made.append(1)
        counters["frames"]["total"] += len(made) < 3 or len(made) == compiled
        return call()

    watch = Neighbour()
    found = measure(compiling, lambda phase: None, "cpu", Precision(), nullcontext(), watch)
    assert [seen.value for seen in found.conditions if seen.kind == "recompiles"] == marks
