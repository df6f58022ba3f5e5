"""Ratios of values from randomized blocks, with their intervals."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from math import exp, log
from typing import Any

CONFIDENCE = 0.97
"""Of each look: a race looks after its second and its third round whether it may stop, and with two
looks at 2.94 % each both hold with 95 % (Pocock 1977). More would take more rounds for the same
gain; ``tests/benchmarks/race_simulation.py`` checks what is left of it after the stop."""


@dataclass(frozen=True)
class Interval:
    """A ratio and the bounds between which it lies with 95 %, though the race may stop early."""

    ratio: float
    low: float
    high: float

    @property
    def inverse(self) -> Interval:
        """The ratio of the two the other way round."""
        return Interval(1 / self.ratio, 1 / self.high, 1 / self.low)

    def within(self, share: float) -> bool:
        """Whether it is no more than this far from 1 on either side."""
        return 1 - share <= self.low and self.high <= 1 + share


class AdditiveModel:
    """A level for each entrant plus a shift for each round: an additive model of log values.

    The logarithm of a value is taken for a level of the entrant plus a shift of the round, fitted
    by least squares, so that what a round has in common (a warm machine) cancels out. With three
    rounds a bootstrap has too little to draw from and covers the truth too seldom; the interval is
    Student's. Its scatter is that of all entrants or that of the pair, whichever is larger, for
    some configs are noisier than others. ``tests/benchmarks/race_simulation.py`` checks how often
    it covers the truth.
    """

    def __init__(self, values: Mapping[Any, Mapping[int, float]]) -> None:
        import numpy

        self._values = values
        self._places = {entrant: place for place, entrant in enumerate(values)}
        numbers = sorted({number for rounds in values.values() for number in rounds})
        rows, logs = [], []
        for entrant, rounds in values.items():
            for number, value in rounds.items():
                row = [0.0] * (len(values) + len(numbers))
                row[self._places[entrant]] = row[len(values) + numbers.index(number)] = 1.0
                rows.append(row)
                logs.append(log(value))
        design, observed_logs = numpy.array(rows), numpy.array(logs)
        self._inverse = numpy.linalg.pinv(design.T @ design)
        self._levels = self._inverse @ design.T @ observed_logs
        self._freedom = len(logs) - int(numpy.linalg.matrix_rank(design))
        residual = observed_logs - design @ self._levels
        self._variance = float(residual @ residual) / self._freedom if self._freedom else 0.0

    def level(self, entrant: Hashable) -> float:
        """The logarithm of the entrant's value, comparable within these rounds alone."""
        return float(self._levels[self._places[entrant]])

    def ratio(self, numerator: Hashable, denominator: Hashable) -> Interval:
        """One entrant's value over another's; without bounds where nothing was repeated."""
        difference = self.level(numerator) - self.level(denominator)
        half_width = self._half_width(numerator, denominator)
        return Interval(exp(difference), exp(difference - half_width), exp(difference + half_width))

    def _half_width(self, numerator: Hashable, denominator: Hashable) -> float:
        import numpy
        from scipy.special import stdtrit

        if numerator == denominator:
            return 0.0
        if not self._freedom:
            return log(1e9)
        contrast = numpy.zeros(len(self._levels))
        contrast[self._places[numerator]], contrast[self._places[denominator]] = 1.0, -1.0
        pooled = self._variance * float(contrast @ self._inverse @ contrast)
        quantile = float(stdtrit(self._freedom, (1 + CONFIDENCE) / 2))
        return float(quantile * max(pooled, self._own_variance(numerator, denominator)) ** 0.5)

    def _own_variance(self, numerator: Hashable, denominator: Hashable) -> float:
        import numpy

        upper, lower = self._values[numerator], self._values[denominator]
        pairs = [log(upper[number] / lower[number]) for number in upper.keys() & lower.keys()]
        return float(numpy.var(pairs, ddof=1)) / len(pairs) if len(pairs) > 1 else 0.0
