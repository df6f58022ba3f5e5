"""Effects that add up: a Gaussian process over changes, with a term for each pair of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular

Matrix = NDArray[numpy.float64]


@dataclass(frozen=True)
class Beliefs:
    """What is believed of each change before any trial: the mean and spread of its effect.

    ``pair_sd`` is the spread of what two changes bring together beyond the sum of their effects,
    less where the ``pair_weights`` of the two are less than one; ``log_odds`` is how likely these
    beliefs are before any value;
    ``noise_sd`` that of a measurement, ``shared_sd`` that of the baseline's, which all share. All
    are in the unit of the values, for latency its natural logarithm.
    """

    mean: Matrix
    sd: Matrix
    pair_sd: float
    noise_sd: float
    shared_sd: float
    pair_weights: Matrix | None = None
    log_odds: float = 0.0


class AdditiveProcess:
    """Values of configs relative to the baseline, as sums of the effects of their changes.

    Rows of ``changes`` have a 1 for each change that a config makes. What two configs have in
    common are the effects of the changes that both make, and of the pairs of these.
    """

    def __init__(
        self,
        changes: Matrix,
        values: Matrix,
        beliefs: Beliefs,
        extra_variance: Matrix | None = None,
        pairs: Matrix | None = None,
    ) -> None:
        """``pairs`` is what ``common_pairs`` gives for the changes, where that is known already."""
        self.sd, self.noise_sd, self.log_odds = beliefs.sd, beliefs.noise_sd, beliefs.log_odds
        self._changes, self._values, self._beliefs = changes, values, beliefs
        if pairs is None:
            pairs = common_pairs(changes, changes, beliefs.pair_weights)
        covariance = self._common(changes, changes, pairs)
        noise = numpy.full(len(values), beliefs.noise_sd**2)
        if extra_variance is not None:
            noise = noise + extra_variance
        self._factor = numpy.linalg.cholesky(covariance + numpy.diag(noise + 1e-9))
        self._residual = values - changes @ beliefs.mean
        self._weights = cho_solve((self._factor, True), self._residual)

    def _common(self, rows: Matrix, others: Matrix, pairs: Matrix) -> Matrix:
        beliefs = self._beliefs
        main = (rows * beliefs.sd**2) @ others.T
        return main + beliefs.pair_sd**2 * pairs + beliefs.shared_sd**2

    @property
    def log_evidence(self) -> float:
        """The logarithm of the probability of the values under the beliefs."""
        fit = float(self._residual @ self._weights)
        volume = 2 * float(numpy.log(numpy.diag(self._factor)).sum())
        return float(-0.5 * (fit + volume + len(self._values) * numpy.log(2 * numpy.pi)))

    def predict(self, rows: Matrix) -> tuple[Matrix, Matrix]:
        """Mean and variance of the true value of each row."""
        beliefs = self._beliefs
        known = self._changes
        cross = self._common(rows, known, common_pairs(rows, known, beliefs.pair_weights))
        mean = rows @ beliefs.mean + cross @ self._weights
        weights = numpy.ones(len(self.sd)) if beliefs.pair_weights is None else beliefs.pair_weights
        pairs = ((rows @ weights) ** 2 - rows @ weights**2) / 2
        own = rows @ beliefs.sd**2 + beliefs.pair_sd**2 * pairs
        solved = solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
        variance = own + beliefs.shared_sd**2 - (solved**2).sum(axis=0)
        return mean, numpy.maximum(variance, 1e-8)

    def left_out(self) -> tuple[Matrix, Matrix]:
        """Mean and variance of each measured value, forecast from all the others."""
        inverse = cho_solve((self._factor, True), numpy.eye(len(self._values)))
        variance = 1 / numpy.diag(inverse)
        return self._values - self._weights * variance, variance


def common_pairs(rows: Matrix, others: Matrix, weights: Matrix | None = None) -> Matrix:
    """The sum, over all pairs of changes that two rows both make, of the product of their weights.

    Without weights it is the number of these pairs.
    """
    if weights is None:
        shared = rows @ others.T
        return (shared**2 - shared) / 2
    first = (rows * weights) @ others.T
    second = (rows * weights**2) @ others.T
    result: Matrix = (first**2 - second) / 2
    return result


def likeliest(processes: Iterable[AdditiveProcess]) -> AdditiveProcess:
    """The one under whose beliefs the values are most probable."""
    return max(processes, key=lambda process: process.log_evidence + process.log_odds)
