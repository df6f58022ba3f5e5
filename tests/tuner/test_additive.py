"""Effects that add up are found from sums, and how surely."""

from __future__ import annotations

import numpy
import pytest

from tuner.search.additive import AdditiveProcess, Beliefs, likeliest

EFFECTS = numpy.array([-0.7, 0.3, -0.1, 0.0])
ROWS = numpy.array(
    [[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 1, 0], [0, 0, 1, 0]],
    dtype=float,
)


def process(values, mean=0.0, sd=0.35, pair_sd=0.02, noise_sd=0.01):
    beliefs = Beliefs(numpy.full(4, mean), numpy.full(4, sd), pair_sd, noise_sd, 0.01)
    return AdditiveProcess(ROWS, values, beliefs)


def test_effects_are_found_and_what_was_not_seen_stays_open():
    mean, variance = process(ROWS @ EFFECTS).predict(numpy.eye(4))
    assert mean[:3] == pytest.approx(EFFECTS[:3], abs=0.05)
    assert numpy.sqrt(variance[:3]).max() < 0.06
    assert (mean[3], numpy.sqrt(variance[3])) == pytest.approx((0.0, 0.35), abs=0.01)


def test_a_sum_that_was_never_measured_is_forecast():
    mean, variance = process(ROWS @ EFFECTS).predict(numpy.array([[1.0, 1.0, 1.0, 0.0]]))
    assert abs(mean[0] - EFFECTS[:3].sum()) < 2 * numpy.sqrt(variance[0]) < 0.2


def test_two_that_do_more_together_move_what_has_both_alone():
    values = ROWS @ EFFECTS + 0.2 * ROWS[:, 0] * ROWS[:, 1]
    mean, _ = process(values, pair_sd=0.2).predict(numpy.array([[1.0, 1, 0, 0], [1, 0, 0, 0]]))
    assert mean[0] == pytest.approx(-0.2, abs=0.05)
    assert mean[1] == pytest.approx(-0.7, abs=0.05)


def test_the_evidence_prefers_beliefs_that_fit():
    values = ROWS @ EFFECTS
    right, wrong = process(values, mean=-0.1, sd=0.5), process(values, mean=2.0, sd=0.1)
    assert likeliest([wrong, right]) is right


def test_each_value_is_forecast_from_the_others():
    values = ROWS @ EFFECTS
    mean, variance = process(values).left_out()
    for place in range(len(values)):
        rest = numpy.arange(len(values)) != place
        beliefs = Beliefs(numpy.zeros(4), numpy.full(4, 0.35), 0.02, 0.01, 0.01)
        alone = AdditiveProcess(ROWS[rest], values[rest], beliefs)
        expected, latent = alone.predict(ROWS[place][None])
        assert mean[place] == pytest.approx(expected[0], abs=1e-6)
        assert variance[place] == pytest.approx(latent[0] + 0.01**2, abs=1e-6)
