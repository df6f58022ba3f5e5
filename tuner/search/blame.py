"""Failures put down to choices, and to pairs of choices, that no working config has shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy
from numpy.typing import NDArray
from scipy.special import expit, logit

Matrix = NDArray[numpy.float64]

PAIR_RATE = 0.01
"""How often two choices that each work do not work together: some 8 of 2,000 pairs in the kept
table of pairs, before their rules were written down, and more where nobody has looked."""

ROUNDS = 12
"""The blame has settled after so many: more change it by less than a hundredth."""

SURE = 14.0
"""The most that one failure adds to the logarithm of the odds: a lone suspect is certain."""


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
        self._single = numpy.where(good.any(axis=0), 0.0, rates) if len(good) else rates.copy()
        together = good.T @ good if len(good) else numpy.zeros((len(rates), len(rates)))
        self._pair = numpy.where(together > 0, 0.0, PAIR_RATE)
        numpy.fill_diagonal(self._pair, 0.0)
        if len(bad):
            self._share(bad)

    def _share(self, bad: Matrix) -> None:
        first, second = numpy.triu_indices(len(self._single), 1)
        suspects = numpy.hstack([bad, bad[:, first] * bad[:, second]]) > 0
        before = numpy.concatenate([self._single, self._pair[first, second]])
        open_ones = (before > 0) & suspects.any(axis=0)
        before[open_ones] = _posterior(before[open_ones], suspects[:, open_ones])
        self._single = before[: len(self._single)]
        self._pair[first, second] = self._pair[second, first] = before[len(self._single) :]

    def works(self, changes: Matrix) -> Matrix:
        """The probability that each config works."""
        alone = numpy.log1p(-numpy.minimum(self._single, 0.999))
        together = numpy.log1p(-numpy.minimum(self._pair, 0.999))
        pairs = ((changes @ together) * changes).sum(axis=1) / 2
        result: Matrix = numpy.exp(changes @ alone + pairs)
        return result

    @property
    def single(self) -> Matrix:
        """The probability that each choice does not work, whatever the others are."""
        return self._single


def _posterior(rates: Matrix, suspects: NDArray[numpy.bool_]) -> Matrix:
    """Of each suspect, the probability that it is broken; a row of ``suspects`` is a failure.

    Each failure tells each of its suspects how likely the others, by what all other failures say of
    them, leave it unexplained.
    """
    odds = logit(rates)
    told = numpy.zeros(suspects.shape)
    for _ in range(ROUNDS):
        elsewhere = expit(odds + told.sum(axis=0) - told)
        works = numpy.where(suspects, numpy.log1p(-numpy.minimum(elsewhere, 1 - 1e-9)), 0.0)
        others_work = numpy.exp(works.sum(axis=1, keepdims=True) - works)
        unexplained = numpy.minimum(-numpy.log1p(-numpy.minimum(others_work, 1 - 1e-9)), SURE)
        # Half a step: full ones swing between two suspects.
        told = (told + numpy.where(suspects, unexplained, 0.0)) / 2
    result: Matrix = expit(odds + told.sum(axis=0))
    return result
