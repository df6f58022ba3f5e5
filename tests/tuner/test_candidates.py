"""The rows that a search can propose are the configs that the space holds."""

from __future__ import annotations

from itertools import product

import numpy
import pytest

from search_space.config import BASELINE, Config
from search_space.space import Space
from tests.tuner.simulation import context
from tuner.search.candidates import Candidates, keys

KNOBS = ("precision", "attention", "attention_slicing", "memory_format", "engine", "inductor")


@pytest.fixture(params=[{}, {"precision": "bf16"}, {"engine": "compile-default"}])
def space(request):
    return Space(context(), request.param, KNOBS)


def held(space):
    combinations = product(*space.open.values())
    configs = [
        Config({**space.fix, **dict(zip(space.open, each, strict=True))}) for each in combinations
    ]
    return {config for config in configs if space.holds(config)}


def test_all_of_a_small_space_are_listed_and_nothing_else(space):
    candidates = Candidates(space, 0)
    listed = [candidates.config(row) for row in candidates.all]
    assert len(listed) == len(set(listed))
    assert set(listed) == held(space)


def test_a_row_is_the_config_that_it_was_made_from(space):
    candidates = Candidates(space, 0)
    for config in held(space):
        assert candidates.config(candidates.row(config)) == config


def test_random_rows_and_neighbours_are_valid(space):
    candidates = Candidates(space, 0)
    rows = candidates.random(200)
    near = numpy.concatenate(
        [candidates.neighbours(rows[:5]), candidates.second_neighbours(rows[:2])]
    )
    for row in numpy.concatenate([rows, near]):
        assert space.holds(candidates.config(row))


def test_a_column_is_a_change_and_the_baseline_has_none(space):
    candidates = Candidates(space, 0)
    assert not candidates.encoded_config(BASELINE).any()
    for config in held(space):
        row = candidates.encoded(candidates.row(config)[None])[0]
        made = {column for column, has in zip(candidates.columns, row, strict=True) if has}
        assert made == set(config.items())


def test_equal_rows_have_equal_keys():
    rows = numpy.array([[0, 2], [1, 2], [0, 2]])
    first, second, third = keys(rows)
    assert first == third != second
