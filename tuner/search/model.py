"""What the trials so far and the prior say of every config."""

from __future__ import annotations

from collections.abc import Sequence

import numpy
from numpy.typing import NDArray
from scipy.special import ndtr

from search_space.budget import Budget
from search_space.trial import OUT_OF_MEMORY, Failure, FailureKind, Trial
from tuner.records.objective import Objective
from tuner.search.additive import AdditiveProcess, Beliefs, common_pairs
from tuner.search.blame import Blame
from tuner.search.candidates import Columns, parts_of
from tuner.search.forecasts import Forecasts
from tuner.search.observations import Observations
from tuner.search.peaks import PeakModel
from tuner.search.prior import CALL, NOTHING, PEAK, SETUP, UNKNOWN_SD, Prior
from tuner.search.weights import Weights

Matrix = NDArray[numpy.float64]

PAIR_SDS = (0.02, 0.05, 0.1)
"""What two changes bring beyond their sum, in logarithms of latency: the evidence chooses."""

NOISE_SDS = (0.01, 0.03)
"""What a measurement is off by: quiet machines repeat a trial within 1 %, busy ones within 3."""

SHARED_SD = 0.02
"""By so much the baseline's own measurement may be off, which all ratios have in common."""

WITHOUT_BASELINE_SD = 1.0
"""Where the baseline did not run, the first trial stands for it, of which less is known."""

WIDENED = 2.5
"""A prior that misleads is tried with wider spreads, by this factor, before none at all."""

CALLS = 5
"""The calls that a trial makes: the first, the second and three that count."""

CALLS_BESIDE = 3
"""The calls of the incumbent, each beside one that counts."""


class Model:
    """What the trials so far and the prior say of every config; made anew after each trial."""

    def __init__(
        self,
        columns: Columns,
        changes: Matrix,
        trials: Sequence[Trial],
        prior: Prior,
        budget: Budget,
        objective: Objective,
        weights: Weights,
    ) -> None:
        """``changes`` has the encoded config of each trial."""
        self._columns, self._prior = columns, prior
        self._budget, self._objective = budget, objective
        self._weights = weights
        self._touches = {
            part: numpy.array([float(part in parts) for parts in parts_of(columns)])
            for part in ("text_encoding", "step", "decode")
        }
        self.observations = Observations.of(trials)
        is_measured = numpy.array([trial.measurement is not None for trial in trials], dtype=bool)
        self._measured = changes[is_measured] if len(trials) else changes
        self.trials, self._changes = trials, changes
        self.trust = "prior"
        self.by_part = False
        self._processes: dict[str, AdditiveProcess] = {}
        self._masks: dict[str, tuple[Matrix, Matrix]] = {}
        self._peak = self._peak_model(self._budget.memory_bytes, host=False)
        self._host_peak = self._peak_model(self._budget.host_bytes, host=True)
        if self.observations is not None:
            self._fit(self.observations)
        self._blame()

    def _fit(self, seen: Observations) -> None:
        whole_trust, whole = self._trusted({CALL: seen.log_calls()})
        self.trust, self._processes = whole_trust, whole
        if seen.by_part:
            values = {part: seen.log_parts(part) for part in seen.unit_s}
            trust, parts = self._trusted(values)
            if len(self._measured) < 3 or self._left_out(parts) >= self._left_out(whole):
                self.trust, self._processes, self.by_part = trust, parts, True
        self._setup = self._process(SETUP, seen.setups(), self.trust, 0.0, 0.3)

    def _trusted(self, values: dict[str, Matrix]) -> tuple[str, dict[str, AdditiveProcess]]:
        """The processes of the outputs with the prior, a widened one or none, by the evidence."""
        best: tuple[float, str, dict[str, AdditiveProcess]] | None = None
        for trust in ("prior", "widened", "none"):
            processes = {}
            for output, logs in values.items():
                fits = [
                    self._process(output, logs, trust, pair_sd, noise_sd)
                    for pair_sd in PAIR_SDS
                    for noise_sd in NOISE_SDS
                ]
                processes[output] = max(fits, key=lambda fit: fit.log_evidence)
            evidence = sum(process.log_evidence for process in processes.values())
            if best is None or evidence > best[0]:
                best = evidence, trust, processes
        assert best is not None
        return best[1], best[2]

    def _mask(self, output: str) -> Matrix:
        return self._touches.get(output, numpy.ones(len(self._columns)))

    def _process(
        self, output: str, values: Matrix, trust: str, pair_sd: float, noise_sd: float
    ) -> AdditiveProcess:
        prior = NOTHING if trust == "none" else self._prior
        sd = prior.sds(output, self._columns)
        if trust == "widened":
            sd = numpy.minimum(sd * WIDENED, numpy.maximum(sd, 2 * UNKNOWN_SD[output]))
        assert self.observations is not None
        shared = SHARED_SD if self.observations.relative_to_baseline else WITHOUT_BASELINE_SD
        mean = prior.means(output, self._columns)
        mask, (changes, pairs) = self._mask(output), self._masked(output)
        beliefs = Beliefs(mean * mask, sd * mask, pair_sd, noise_sd, shared)
        return AdditiveProcess(changes, values, beliefs, pairs=pairs)

    def _masked(self, output: str) -> tuple[Matrix, Matrix]:
        """The changes of measured trials that touch an output, and the pairs that two share."""
        if output not in self._masks:
            changes = self._measured * self._mask(output)
            self._masks[output] = changes, common_pairs(changes, changes)
        return self._masks[output]

    def _left_out(self, processes: dict[str, AdditiveProcess]) -> float:
        """How likely the latency of each trial was, forecast from the others."""
        assert self.observations is not None
        mean, variance = self._total({name: each.left_out() for name, each in processes.items()})
        error = self.observations.log_calls() - mean
        density = -0.5 * (error**2 / variance + numpy.log(2 * numpy.pi * variance))
        return float(density.sum())

    def _total(self, outputs: dict[str, tuple[Matrix, Matrix]]) -> tuple[Matrix, Matrix]:
        """Mean and variance of the log latency from those of its parts: a sum of log-normals."""
        if CALL in outputs:
            return outputs[CALL]
        assert self.observations is not None
        unit_s = self.observations.unit_s
        mean_s = sum(
            unit_s[part] * numpy.exp(mean + variance / 2)
            for part, (mean, variance) in outputs.items()
        )
        variance_s = sum(
            unit_s[part] ** 2 * numpy.exp(2 * mean + variance) * numpy.expm1(variance)
            for part, (mean, variance) in outputs.items()
        )
        variance = numpy.log1p(variance_s / mean_s**2)
        return numpy.log(mean_s / self.observations.unit_call_s) - variance / 2, variance

    def _peak_model(self, limit_bytes: int | None, host: bool) -> PeakModel:
        return PeakModel(
            self._columns,
            self._changes,
            self.trials,
            self._prior,
            self._weights,
            limit_bytes,
            host,
        )

    def _blame(self) -> None:
        ran_out, image = OUT_OF_MEMORY, Budget(quality=self._budget.quality)
        runs = [
            (row, trial.measurement is not None)
            for row, trial in zip(self._changes, self.trials, strict=True)
            if not (isinstance(trial.outcome, Failure) and trial.outcome.kind in ran_out)
            and not _too_far(trial)
        ]
        kept = [
            (row, not _too_far(trial) and trial.judged(image) is None)
            for row, trial in zip(self._changes, self.trials, strict=True)
            if trial.measurement is not None or _too_far(trial)
        ]
        self.crashes = self._blame_of(runs, "fails")
        self.lossy = self._blame_of(kept, "too_far")

    def _blame_of(self, pairs: Sequence[tuple[Matrix, bool]], of: str) -> Blame:
        rows = numpy.array([row for row, _ in pairs]).reshape(len(pairs), len(self._columns))
        rates = self._prior.rates(of, self._columns)
        return Blame(rates, rows, [worked for _, worked in pairs])

    def effects(self) -> dict[str, tuple[Matrix, Matrix, Matrix]]:
        """By output, for each change alone: the mean, the variance, and the spread before."""
        seen = self.observations
        if seen is None:
            return {}
        alone = numpy.eye(len(self._columns))
        processes = dict(self._processes)
        if self.by_part:
            processes |= self._trusted({CALL: seen.log_calls()})[1]
        processes[SETUP] = self._setup
        if peak := self._peak.process():
            processes[PEAK] = peak
        return {
            name: (*process.predict(alone * self._mask(name)), process.sd)
            for name, process in processes.items()
        }

    def forecast(self, rows: Matrix) -> Forecasts:
        """What is expected of encoded configs."""
        seen = self.observations
        if seen is None:
            return self._without_trials(rows)
        outputs = {
            name: process.predict(rows * self._mask(name))
            for name, process in self._processes.items()
        }
        log_latency, variance = self._total(outputs)
        log_peak, peak_variance = self._peak.predict(rows)
        fits = self._peak.fits(rows) * self._host_peak.fits(rows)
        log_value, value_variance = log_latency, variance
        setup = numpy.maximum(1 + self._setup.predict(rows)[0], 0.2) * seen.unit_setup_s
        latency_s = numpy.exp(log_latency) * seen.unit_call_s
        if self._objective.name == "memory":
            log_value, value_variance = log_peak, peak_variance
            fits = fits * ndtr((numpy.log(1.01) - log_latency) / numpy.sqrt(variance))
        elif self._objective.images is not None:
            calls = -(-self._objective.images // self._objective.batch_size)
            own = setup + (calls - 1) * latency_s
            log_value = numpy.log(own / (seen.unit_setup_s + (calls - 1) * seen.unit_call_s))
        return Forecasts(
            log_value,
            value_variance,
            log_latency,
            variance,
            log_peak,
            peak_variance,
            self.crashes.works(rows),
            fits,
            self.lossy.works(rows),
            setup + CALLS * latency_s + CALLS_BESIDE * seen.best_call_s,
        )

    def _without_trials(self, rows: Matrix) -> Forecasts:
        """From the prior alone: the parts weigh as in most pipelines, memory is not limited."""
        mean = rows @ self._prior.means(CALL, self._columns)
        variance = rows @ self._prior.sds(CALL, self._columns) ** 2
        log_peak, peak_variance = self._peak.predict(rows)
        setup = 1 + rows @ numpy.maximum(self._prior.means(SETUP, self._columns), 0)
        fits = self._peak.fits(rows) * self._host_peak.fits(rows)
        works, keeps = self.crashes.works(rows), self.lossy.works(rows)
        return Forecasts(
            mean, variance, mean, variance, log_peak, peak_variance, works, fits, keeps, setup
        )


IMAGE = (FailureKind.TOO_FAR, FailureKind.INVALID_OUTPUT)
"""Failures of the image and not of the run."""


def _too_far(trial: Trial) -> bool:
    failure = trial.outcome
    return isinstance(failure, Failure) and failure.kind in IMAGE
