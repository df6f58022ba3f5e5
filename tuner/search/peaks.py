"""How much memory a config is expected to need: known weights, and what trials show beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import exp, log, pi

import numpy
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr

from search_space.trial import OUT_OF_MEMORY, Failure, FailureKind, Measurement, Trial
from tuner.search.additive import AdditiveProcess, Beliefs, common_pairs, likeliest
from tuner.search.candidates import Columns
from tuner.search.prior import PEAK, Prior
from tuner.search.weights import Weights

Matrix = NDArray[numpy.float64]

SET_UP = ("load", "record", "calibrate", "export", "engine", "session")
"""The phases before the first call; all others are calls."""

PAIR_SDS = (0.0005, 0.005, 0.03)
"""What two changes hold beyond their sum, in logarithms of bytes: the evidence chooses."""

SCALES = {0.25: -3.0, 1.0: 0.0, 2.5: -3.0}
"""How far changes move a peak at all, as a share of what the prior says, with the logarithm of the
odds of that: the evidence chooses."""

TELLING = 0.1
"""Changes that move a peak by this much may do something else together."""

NOISE_SDS = (0.002, 0.01)
"""Peaks of one config repeat within 1 %, many of them to the page."""

SHARED_SD = 0.01
"""By so much the baseline's own peak may be off, which all ratios have in common."""

WITHOUT_BASELINE_SD = 0.3
"""Where the baseline did not run, the first trial stands for it: if that ran out of memory, it is
taken to be over the limit by a quarter, more or less."""

OVER_BY, OVER_SD = 0.1, 0.05
"""What ran out of memory at a limit would have needed about 10 % more, give or take."""

RUNTIME_BYTES = 400 * 2**20
"""A process that has imported torch and diffusers holds about so much beside a pipeline."""

LEAST_SHARE = 0.1
"""However little of a peak is left beside weights that shrink, so much is."""


class PeakModel:
    """The peaks of configs in one place, by phase: while a config is set up, and in its calls."""

    def __init__(
        self,
        columns: Columns,
        changes: Matrix,
        trials: Sequence[Trial],
        prior: Prior,
        weights: Weights,
        limit_bytes: int | None,
        host: bool,
    ) -> None:
        self._limit_bytes, self._host = limit_bytes, host
        self._prior, self._columns, self._weights = prior, columns, weights
        self._parts = [
            part
            for of_set_up, bytes_of in ((True, weights.loaded), (False, weights.held))
            if (part := self._part(changes, trials, of_set_up, bytes_of)) is not None
        ]

    def _part(
        self,
        changes: Matrix,
        trials: Sequence[Trial],
        of_set_up: bool,
        bytes_of: Callable[[Matrix], Matrix],
    ) -> _Part | None:
        """The peaks of one phase; those of trials that ran out are known to be beyond the limit."""
        rows, peaks, beyond = [], [], []
        unit: tuple[Matrix, float, bool] | None = None
        for row, trial in zip(changes, trials, strict=True):
            ran_out = self._ran_out(trial, of_set_up) and self._limit_bytes is not None
            peak = self._peak_bytes(trial.measurement, of_set_up) if trial.measurement else None
            if ran_out and self._limit_bytes is not None:
                peak = self._limit_bytes * exp(OVER_BY)
            if peak is None:
                continue
            rows.append(row)
            peaks.append(peak)
            beyond.append(ran_out)
            if not ran_out and (unit is None or trial.config.is_baseline):
                unit = row, peak, trial.config.is_baseline
        if not rows:
            return None
        row, unit_bytes, is_exact = unit or (rows[0], peaks[0], False)
        offset = _Offset(bytes_of, self._weights.rest_share, row[None], unit_bytes)
        matrix, over = numpy.array(rows), numpy.array(beyond)
        logs = numpy.log(numpy.array(peaks) / unit_bytes)
        residuals = logs - offset.log_ratio(matrix)
        residual = self._fitted(matrix, residuals, over, is_exact)
        if over.any() and self._limit_bytes is not None:
            limits = numpy.log(self._limit_bytes / unit_bytes) - offset.log_ratio(matrix)
            expected = _beyond(*residual.left_out(), limits)
            residual = self._fitted(matrix, numpy.where(over, expected, residuals), over, is_exact)
        return _Part(residual, offset, unit_bytes)

    def _fitted(
        self, rows: Matrix, values: Matrix, over: Matrix, is_exact: bool
    ) -> AdditiveProcess:
        shared = SHARED_SD if is_exact else WITHOUT_BASELINE_SD
        mean = self._prior.means(PEAK, self._columns)
        sd = self._prior.sds(PEAK, self._columns)
        extra = numpy.where(over, OVER_SD**2, 0.0)

        def fitted(weights: Matrix | None, noise_sds: Iterable[float]) -> AdditiveProcess:
            pairs = common_pairs(rows, rows, weights)
            return likeliest(
                AdditiveProcess(
                    rows,
                    values,
                    Beliefs(mean, scale * sd, pair_sd, noise_sd, shared, weights, log_odds),
                    extra,
                    pairs,
                )
                for noise_sd in noise_sds
                for pair_sd in PAIR_SDS
                for scale, log_odds in SCALES.items()
            )

        # What hardly moves a peak hardly does so together with something else.
        means, variances = fitted(None, NOISE_SDS[:1]).predict(numpy.eye(len(mean)))
        size = numpy.sqrt(means**2 + numpy.maximum(variances - shared**2, 0.0))
        return fitted(numpy.minimum(size / TELLING, 1.0), NOISE_SDS)

    def _peak_bytes(self, measurement: Measurement, of_set_up: bool) -> float | None:
        places = {peak.place for peak in measurement.peaks}
        place = "device" if "device" in places and not self._host else "host"
        peaks = [
            peak.peak_bytes
            for peak in measurement.peaks
            if peak.place == place and (peak.phase in SET_UP) == of_set_up
        ]
        return float(max(peaks)) if peaks else None

    def _ran_out(self, trial: Trial, of_set_up: bool) -> bool:
        failure = trial.outcome
        if not isinstance(failure, Failure) or failure.kind not in OUT_OF_MEMORY:
            return False
        if self._host and failure.kind is not FailureKind.HOST_OUT_OF_MEMORY:
            return False
        return (failure.phase in SET_UP) == of_set_up

    def predict(self, rows: Matrix) -> tuple[Matrix, Matrix]:
        """The logarithm of the peak over the baseline's, and its variance: of the larger phase."""
        if not self._parts:
            mean = rows @ self._prior.means(PEAK, self._columns)
            variance = rows @ self._prior.sds(PEAK, self._columns) ** 2
            return mean + self._known(rows), variance + 1e-8
        unit = max(part.unit_bytes for part in self._parts)
        logs = []
        for part in self._parts:
            mean, variance = part.predict(rows)
            logs.append((mean + numpy.log(part.unit_bytes / unit), variance))
        means = numpy.array([mean for mean, _ in logs])
        variances = numpy.array([variance for _, variance in logs])
        largest = means.argmax(axis=0)
        places = numpy.arange(len(rows))
        return means[largest, places], variances[largest, places]

    def _known(self, rows: Matrix) -> Matrix:
        """Before any trial: activations and all else are taken to hold as much as the weights."""
        none = numpy.zeros((1, len(self._columns)))
        held, share = self._weights.held, self._weights.rest_share
        unit_bytes = 2 * float(self._weights.held(none)[0]) + RUNTIME_BYTES
        return _Offset(held, share, none, unit_bytes).log_ratio(rows)

    def fits(self, rows: Matrix) -> Matrix:
        """The probability that each config keeps within the limit in every phase."""
        chance = numpy.ones(len(rows))
        if self._limit_bytes is None:
            return chance
        for part in self._parts:
            mean, variance = part.predict(rows)
            limit = numpy.log(self._limit_bytes / part.unit_bytes)
            chance = chance * ndtr(
                (limit - mean) / numpy.sqrt(variance + part.residual.noise_sd**2)
            )
        return chance

    def process(self) -> AdditiveProcess | None:
        """The one of the phase that holds most, for its effects."""
        if not self._parts:
            return None
        return max(self._parts, key=lambda part: part.unit_bytes).residual


def _beyond(mean: Matrix, variance: Matrix, limit: Matrix) -> Matrix:
    """The mean of a normal value of which is known that it lies beyond a limit."""
    sd = numpy.sqrt(variance)
    gap = (limit - mean) / sd
    # The inverse Mills ratio, in logarithms: far below the limit both its parts are tiny.
    ratio = numpy.exp(-0.5 * gap**2 - 0.5 * log(2 * pi) - log_ndtr(-gap))
    result: Matrix = numpy.maximum(mean + sd * ratio, limit)
    return result


class _Offset:
    """What a config's weights make of a peak: they stand in the place of the baseline's."""

    def __init__(
        self,
        bytes_of: Callable[[Matrix], Matrix],
        rest_share: Callable[[Matrix], Matrix],
        unit_row: Matrix,
        unit_bytes: float,
    ) -> None:
        self._bytes_of, self._share = bytes_of, rest_share
        self._unit_weights = float(bytes_of(unit_row)[0])
        rest = max(unit_bytes - self._unit_weights, 0.0)
        self._rest_bytes = rest / float(rest_share(unit_row)[0])
        self._unit_bytes = self._unit_weights + rest

    def log_ratio(self, rows: Matrix) -> Matrix:
        share = (self._bytes_of(rows) + self._rest_bytes * self._share(rows)) / self._unit_bytes
        result: Matrix = numpy.log(numpy.maximum(share, LEAST_SHARE))
        return result


class _Part:
    """The peak of one phase."""

    def __init__(self, residual: AdditiveProcess, offset: _Offset, unit_bytes: float) -> None:
        self.residual, self.unit_bytes = residual, unit_bytes
        self._offset = offset

    def predict(self, rows: Matrix) -> tuple[Matrix, Matrix]:
        mean, variance = self.residual.predict(rows)
        return mean + self._offset.log_ratio(rows), variance
