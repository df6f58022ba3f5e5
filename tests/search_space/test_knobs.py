"""The contract of a knob: a new one is held to it by being there."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from search_space.catalog import check_known
from search_space.knob import Context, Tier, untouched
from search_space.workload import Workload
from tests.search_space.choices import FAMILIES, KNOBS, every_choice, is_sentence

KINDS = ("cpu", "cuda", "mps", "xpu", "hpu")
every_knob = pytest.mark.parametrize("knob", KNOBS, ids=lambda knob: knob.name)


@pytest.fixture(scope="module")
def contexts(describe: Callable[..., Context]) -> list[Context]:
    """Every kind of machine, with everything installed and with nothing, by family and batch."""
    bare = {"packages": {}, "probes": {}, "native_dtypes": ()}
    return [
        describe(kind, family, Workload(family, batch_size=batch_size), **facts)
        for kind, family, batch_size, facts in product(KINDS, FAMILIES, (1, 4), ({}, bare))
    ]


@every_knob
def test_a_knob_says_in_a_sentence_what_it_does(knob):
    assert knob.doc.endswith(".") and len(knob.doc.split()) > 3
    assert knob.name.isidentifier() and knob.name == knob.name.lower()
    assert len(set(knob.values)) == len(knob.values) > 1


@every_knob
def test_the_first_choice_leaves_all_as_it_is_and_needs_nothing(knob, contexts):
    first = knob.choices[0]
    assert first.apply is untouched
    assert (first.tier, first.conflicts) == (Tier.EXACT, ())
    assert {first.need(context) for context in contexts} == {None}


@every_choice
def test_any_other_choice_acts_and_says_how_that_is_seen(knob, choice):
    assert choice.apply is not untouched
    assert choice.effect is not knob.choices[0].effect


@every_choice
def test_availability_is_none_or_a_sentence_on_every_machine(knob, choice, contexts):
    answers = {choice.need(context) for context in contexts}
    assert [answer for answer in answers if answer is not None and not is_sentence(answer)] == []


@every_choice
def test_what_a_choice_needs_is_said_in_words_that_go_on_after_needs(knob, choice):
    for one in (*choice.need.each, *(conflict.where for conflict in choice.conflicts)):
        assert one.what == " ".join(one.what.split()).rstrip(".") != ""
        assert not one.what.startswith("needs")


@every_choice
def test_a_conflict_names_what_there_is_with_a_reason_and_never_a_first_choice(knob, choice):
    for conflict in choice.conflicts:
        other = check_known(conflict.knob)
        assert other is not knob
        assert bool(conflict.others) != bool(conflict.only)
        assert set(conflict.others) <= set(other.values[1:])
        assert set(conflict.only) <= set(other.values)
        assert set(conflict.choices) <= set(knob.values[1:])
        assert is_sentence(conflict.reason)


@every_choice
def test_a_conflict_is_declared_on_one_side_alone(knob, choice):
    for conflict in choice.conflicts:
        named = conflict.others or conflict.only
        theirs = [check_known(conflict.knob).choice(value) for value in named]
        declared_there = {back.knob for other in theirs for back in other.conflicts}
        assert knob.name not in declared_there
