"""Failures are put down to choices and pairs that no working config has shown."""

from __future__ import annotations

import numpy

from tuner.search.blame import Blame

RATES = numpy.full(4, 0.03)


def blame(*trials):
    rows = numpy.array([row for row, _ in trials], dtype=float)
    return Blame(RATES, rows, [worked for _, worked in trials])


def test_what_failed_with_every_partner_is_to_blame():
    found = blame(([1, 1, 0, 0], False), ([1, 0, 1, 0], False), ([0, 1, 1, 0], True))
    assert found.single[0] > 0.9
    assert found.works(numpy.array([[1.0, 0, 0, 1]]))[0] < 0.1
    assert found.works(numpy.array([[0.0, 1, 0, 1]]))[0] > 0.9


def test_two_that_work_apart_and_fail_together_are_a_pair_to_blame():
    found = blame(([1, 0, 0, 0], True), ([0, 1, 0, 0], True), ([1, 1, 0, 0], False))
    assert found.single[:2].max() < 1e-6
    assert found.works(numpy.array([[1.0, 1, 0, 0]]))[0] < 0.1
    assert found.works(numpy.array([[1.0, 0, 1, 0]]))[0] > 0.9


def test_one_failure_of_many_changes_leaves_all_of_them_open():
    found = blame(([1, 1, 1, 1], False))
    assert RATES[0] < found.single.min() == found.single.max() < 0.5
    assert found.works(numpy.ones((1, 4)))[0] < 0.5


def test_without_trials_the_rates_hold():
    found = Blame(RATES, numpy.zeros((0, 4)), [])
    assert list(found.single) == list(RATES)
