"""Failures put down to choices, and to pairs of choices, that no working config has shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy
from numpy.typing import NDArray

Matrix = NDArray[numpy.float64]

PAIR_RATE = 0.01
"""How often two choices that each work do not work together: some 8 of 2,000 pairs in the kept
table of pairs, before their rules were written down."""

ROUNDS = 6
"""The blame has settled after so many: more change it by less than a hundredth."""


class Blame:
    """For each choice and pair of choices, how likely it is that it does not work.

    A config works if all its choices and all pairs of them work: a noisy OR. What a working config
    has shown to work is cleared for good. The blame for a failed one is shared among what it has
    that is not cleared, by belief propagation: the more others could be to blame, the less each is.
    """

    def __init__(self, rates: Matrix, changes: Matrix, worked: Sequence[bool]) -> None:
        shown = numpy.array(worked, dtype=bool)
        good, bad = changes[shown], changes[~shown]
        self.trials = changes.sum(axis=0)
        single = numpy.where(good.any(axis=0), 0.0, rates) if len(good) else rates.copy()
        together = good.T @ good if len(good) else numpy.zeros((len(rates), len(rates)))
        pair = numpy.where(together > 0, 0.0, PAIR_RATE)
        numpy.fill_diagonal(pair, 0.0)
        self._single, self._pair = single, pair
        for _ in range(ROUNDS if len(bad) else 0):
            self._share(bad, single, pair)

    def _share(self, bad: Matrix, single: Matrix, pair: Matrix) -> None:
        """One round: each failure asks how likely its other suspects leave it unexplained.

        Choices before pairs: what one choice explains needs no pair.
        """
        gain = numpy.zeros(len(single))
        for row, works in zip(bad, self.works(bad), strict=True):
            has = row > 0
            gain[has] -= _log_explained(works / (1 - numpy.minimum(self._single[has], 0.999)))
        # Half a step: full ones swing between two suspects.
        self._single = (self._single + _probability(_odds(single) + gain)) / 2
        pair_gain = numpy.zeros_like(pair)
        for row, works in zip(bad, self.works(bad), strict=True):
            block = numpy.ix_(row > 0, row > 0)
            others = works / (1 - numpy.minimum(self._pair[block], 0.999))
            pair_gain[block] -= _log_explained(others)
        self._pair = (self._pair + _probability(_odds(pair) + pair_gain)) / 2
        numpy.fill_diagonal(self._pair, 0.0)

    def _log_works(self, changes: Matrix) -> Matrix:
        alone = numpy.log1p(-numpy.minimum(self._single, 0.999))
        together = numpy.log1p(-numpy.minimum(self._pair, 0.999))
        result: Matrix = changes @ alone + ((changes @ together) * changes).sum(axis=1) / 2
        return result

    def works(self, changes: Matrix) -> Matrix:
        """The probability that each config works."""
        return numpy.exp(self._log_works(changes))

    @property
    def single(self) -> Matrix:
        """The probability that each choice does not work, whatever the others are."""
        return self._single


def _log_explained(others_work: Matrix) -> Matrix:
    return numpy.log(numpy.clip(1 - others_work, 1e-6, 1))


def _odds(probability: Matrix) -> Matrix:
    clipped = numpy.clip(probability, 1e-12, 1 - 1e-6)
    return numpy.log(clipped / (1 - clipped))


def _probability(odds: Matrix) -> Matrix:
    return 1 / (1 + numpy.exp(-odds))
