"""What is expected of many configs at once: latency, memory, chance to work, seconds to try."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

import numpy
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr

from search_space.proposal import Expectation

Matrix = NDArray[numpy.float64]


@dataclass(frozen=True)
class Forecasts:
    """What is expected of configs, one entry each.

    ``log_value`` is the logarithm of the objective over the baseline's, with its ``variance``.
    ``feasible`` is the probability that the config works, fits and keeps the image; ``cost_s`` the
    seconds that a trial takes.
    """

    log_value: Matrix
    variance: Matrix
    log_latency: Matrix
    latency_variance: Matrix
    log_peak: Matrix
    peak_variance: Matrix
    works: Matrix
    fits: Matrix
    keeps: Matrix
    cost_s: Matrix

    @property
    def feasible(self) -> Matrix:
        return self.works * self.fits * self.keeps

    def expected(self, place: int) -> Expectation:
        """What is expected of one config, with intervals of 95 %."""
        speedup, low, high = _interval(-self.log_latency[place], self.latency_variance[place])
        ratio, peak_low, peak_high = _interval(self.log_peak[place], self.peak_variance[place])
        feasible, cost_s = float(self.feasible[place]), float(self.cost_s[place])
        return Expectation(speedup, low, high, ratio, peak_low, peak_high, feasible, cost_s)


def _interval(log_mean: float, variance: float) -> tuple[float, float, float]:
    middle, half = float(log_mean), 1.96 * float(variance) ** 0.5
    return exp(middle), exp(middle - half), exp(middle + half)


def improvement(log_value: Matrix, variance: Matrix, best: float) -> Matrix:
    """The expected share by which each log-normal value is below the best one, at least 0."""
    sd = numpy.sqrt(variance)
    gap = (best - log_value) / sd
    below = ndtr(gap)
    # Where the chance is tiny, products of small and large numbers are taken in logarithms.
    mean_below = numpy.exp(log_value - best + variance / 2 + log_ndtr(gap - sd))
    result: Matrix = numpy.maximum(below - mean_below, 0.0)
    return result
