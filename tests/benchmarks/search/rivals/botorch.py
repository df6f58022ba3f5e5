"""BoTorch: Gaussian processes with a kernel for categories, constrained expected improvement."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy
import torch
from botorch.acquisition.analytic import LogConstrainedExpectedImprovement
from botorch.fit import fit_gpytorch_mll
from botorch.models import MixedSingleTaskGP, ModelListGP
from botorch.models.transforms import Standardize
from gpytorch.mlls import ExactMarginalLogLikelihood
from numpy.typing import NDArray

from search_space.config import Config
from search_space.trial import FailureKind, Trial
from tests.benchmarks.search.enumeration import Configs
from tests.benchmarks.search.rivals.seeded import Seeded
from tests.benchmarks.search.spaces import valid_of
from tuner.records.plan import Plan

Row = NDArray[Any]

CANDIDATES = 2000
"""Valid configs among which the acquisition is largest: half near the best one, half anywhere."""


class BoTorch(Seeded):
    """Log seconds, log memory by the budget, and whether it works, each a Gaussian process."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._valid = valid_of(plan.space)
        self._draw = numpy.random.default_rng(plan.workload.seed)
        self._tried_rows: set[int] = set()
        self._log_seconds: list[tuple[Row, float]] = []
        self._log_memory: list[tuple[Row, float]] = []
        self._failed: list[tuple[Row, float]] = []
        self._best: tuple[float, Row] | None = None

    def _add(self, trial: Trial) -> None:
        row = Configs.of(self._valid.space, trial.config).places[0]
        self._tried_rows |= set(numpy.flatnonzero((self._valid.places == row).all(axis=1)))
        failure = trial.judged(self._plan.budget)
        fits = failure is None or failure.kind is FailureKind.OVER_MEMORY
        self._failed.append((row, -1.0 if fits else 1.0))
        if trial.measurement is None:
            return
        log_s = math.log(trial.measurement.latency_s)
        limit_bytes = self._plan.budget.memory_bytes or 2**62
        self._log_seconds.append((row, log_s))
        self._log_memory.append((row, math.log(trial.measurement.peak_bytes / limit_bytes)))
        if failure is None and (self._best is None or log_s < self._best[0]):
            self._best = log_s, row

    def _modelled(self) -> Config | None:
        rows = self._candidates()
        if not len(rows):
            return None
        points = _points(self._valid.places[rows]).unsqueeze(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            acquisition = self._acquisition()
            with torch.no_grad():
                gains = acquisition(points)
        return self._valid.config(int(rows[int(gains.argmax())]))

    def _candidates(self) -> NDArray[numpy.intp]:
        """Rows that have not been tried: the nearest to the best one, and any."""
        new = numpy.setdiff1d(numpy.arange(len(self._valid)), list(self._tried_rows))
        if len(new) <= CANDIDATES:
            return new
        anywhere = self._draw.choice(new, CANDIDATES // 2, replace=False)
        if self._best is None:
            return anywhere
        distances = (self._valid.places[new] != self._best[1]).sum(axis=1)
        order = numpy.argsort(distances + self._draw.random(len(new)))
        return numpy.union1d(anywhere, new[order[: CANDIDATES // 2]])

    def _acquisition(self) -> LogConstrainedExpectedImprovement:
        # Where nothing works yet everything improves, and the constraints alone decide.
        best = self._best[0] if self._best else max((y for _, y in self._log_seconds), default=0.0)
        observed = [self._log_seconds, self._log_memory, self._failed]
        models = ModelListGP(*(_fitted(each) for each in observed if each))
        if not self._log_seconds:
            return LogConstrainedExpectedImprovement(models, best, 0, {0: (None, 0.0)})
        fits = {1: (None, 0.0), 2: (None, 0.0)}
        return LogConstrainedExpectedImprovement(models, best, 0, fits, maximize=False)


def _fitted(observed: list[tuple[Row, float]]) -> MixedSingleTaskGP:
    points = _points(numpy.stack([row for row, _ in observed]))
    values = torch.tensor([[value] for _, value in observed], dtype=torch.float64)
    knobs = list(range(points.shape[1]))
    model = MixedSingleTaskGP(points, values, cat_dims=knobs, outcome_transform=Standardize(1))
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    return model


def _points(places: NDArray[Any]) -> torch.Tensor:
    return torch.as_tensor(places.astype(numpy.float64))
