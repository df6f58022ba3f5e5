"""Optuna's part: propose the next config from the trials so far."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Iterator, Mapping
from itertools import combinations, product
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, GPSampler
from optuna.study import Study as OptunaStudy
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_space.budget import Budget
from search_space.config import Config, completed
from search_space.fidelity import excess
from search_space.portfolio import portfolio, sparing
from search_space.space import Space
from search_space.trial import OUT_OF_MEMORY, Failure, FailureKind, Measurement, Trial
from tuner.records.objective import LATENCY, Objective

optuna.logging.set_verbosity(optuna.logging.WARNING)

MINIMUM_STARTUP_TRIALS = 4
"""Before so many trials configs come from the portfolio or at random: of fewer a Gaussian process
learns little, and more would leave it less of a short run."""


class SpaceExhausted(Exception):
    """Every config of the space has been tried."""


class GuardedSampler(BaseSampler):
    """Lets another sampler propose, and moves each proposal to the nearest config to try.

    To try means: lies in the space, has not been tried. So no trial is spent on what a rule knows,
    and the inner sampler learns from real trials only.
    """

    def __init__(
        self, inner: BaseSampler, space: Space, configs_tried: set[Config], seed: int
    ) -> None:
        self.inner = inner
        self._space = space
        self._configs_tried = configs_tried
        self._random = random.Random(seed)

    def infer_relative_search_space(
        self, study: OptunaStudy, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The whole space, always: it is flat and fixed."""
        return distributions(self._space)

    def sample_relative(
        self,
        study: OptunaStudy,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """The nearest config to try; raises SpaceExhausted."""
        proposed = self.inner.sample_relative(study, trial, search_space)
        start = {
            name: str(proposed.get(name, self._random.choice(values)))
            for name, values in self._space.open.items()
        }
        for candidate in self._outward(start):
            if Config(candidate) not in self._configs_tried and self._space.holds(candidate):
                return {name: candidate[name] for name in search_space}
        raise SpaceExhausted

    def _outward(self, start: dict[str, str]) -> Iterator[dict[str, str]]:
        """The configs in order of the number of knobs in which they differ from ``start``."""
        knobs = self._shuffled(self._space.open)
        for distance in range(len(knobs) + 1):
            for names in self._shuffled(combinations(knobs, distance)):
                alternatives = [
                    [value for value in self._space.open[name] if value != start[name]]
                    for name in names
                ]
                for values in self._shuffled(product(*alternatives)):
                    yield self._space.fix | start | dict(zip(names, values, strict=True))

    def _shuffled(self, items: Any) -> list[Any]:
        order = list(items)
        self._random.shuffle(order)
        return order

    def sample_independent(
        self,
        study: OptunaStudy,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Never called: the relative space is the whole space."""
        return self.inner.sample_independent(study, trial, param_name, param_distribution)


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """One categorical for each knob that is left to choose."""
    return {name: CategoricalDistribution(values) for name, values in space.open.items()}


def distance(peak_bytes: int, limit_bytes: int | None) -> float:
    """How far a peak is over its limit, as a share of the limit."""
    return -1.0 if limit_bytes is None else peak_bytes / limit_bytes - 1.0


def shortage(failure: Failure, limit_bytes: int | None) -> float:
    """How far over its limit a config is that ran out of memory; the limit again if not known.

    What was held when an allocation failed may lie below the limit, what was asked for does not.
    """
    excess_share = 1.0 if failure.peak_bytes is None else distance(failure.peak_bytes, limit_bytes)
    return excess_share if excess_share > 0 else 1.0


class Study:
    """Proposes configs and learns from trials; kept in memory, rebuilt from the ledger."""

    def __init__(
        self,
        space: Space,
        budget: Budget,
        seed: int,
        objective: Objective = LATENCY,
    ) -> None:
        self._space = space
        self._budget = budget
        self._objective = objective
        self._baseline: Measurement | None = None
        self._configs_tried: set[Config] = set()
        self._pending: optuna.Trial | None = None
        self._seeds = portfolio(space)
        startup = max(MINIMUM_STARTUP_TRIALS, len(self._seeds) + 1)
        inner = GPSampler(seed=seed % 2**32, n_startup_trials=startup)
        self._study = optuna.create_study(
            sampler=GuardedSampler(inner, space, self._configs_tried, seed), direction="minimize"
        )

    def _enqueue_seeds(self) -> None:
        # Not before the baseline ran: where it did not fit, what spares memory comes first.
        for config in self._seeds:
            self._study.enqueue_trial(self._open(config))
        self._seeds = []

    def _open(self, config: Mapping[str, str]) -> dict[str, str]:
        choices = completed(config)
        return {name: choices[name] for name in self._space.open}

    def propose(self) -> Config | None:
        """The next config to try, or None when all have been tried."""
        if not self._space.open:
            # With nothing to choose Optuna asks no sampler: there is one config or none.
            only = Config(self._space.fix)
            return only if only not in self._configs_tried and self._space.holds(only) else None
        self._enqueue_seeds()
        while True:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                    self._pending = self._study.ask(distributions(self._space))
            except SpaceExhausted:
                return None
            config = Config({**self._space.fix, **self._pending.params})
            if config not in self._configs_tried:
                return config
            # A seed that an earlier run has measured: it is in the study already.
            self._study.tell(self._pending, state=TrialState.FAIL)

    def learn(self, trial: Trial) -> None:
        """Add the outcome of a config, proposed here or in an earlier run."""
        pending, self._pending = self._pending, None
        self._configs_tried.add(trial.config)
        if trial.config.is_baseline:
            self._baseline = trial.measurement
            if isinstance(trial.outcome, Failure) and trial.outcome.kind in OUT_OF_MEMORY:
                self._seeds = [*sparing(self._space), *self._seeds]
        if not self._space.holds(trial.config):
            return
        value, constraints = self._value(trial), self.constraints(trial)
        if pending is not None and pending.params == self._open(trial.config):
            for name, distance in constraints.items():
                pending.set_constraint(name, distance)
            self._study.tell(pending, value)
            return
        reused_trial = create_trial(
            value=value,
            params=self._open(trial.config),
            distributions=distributions(self._space),
            constraints=constraints,
        )
        self._study.add_trial(reused_trial)

    def constraints(self, trial: Trial) -> dict[str, float]:
        """How far from feasible, as Optuna wants it: at most 0 is feasible."""
        memory_bytes, host_bytes = self._budget.memory_bytes, self._budget.host_bytes
        if isinstance(trial.outcome, Failure):
            kind = trial.outcome.kind
            memory_kinds = FailureKind.HOST_OUT_OF_MEMORY, FailureKind.DEVICE_OUT_OF_MEMORY
            # On a machine without a device, both budgets are the host's.
            memory = shortage(trial.outcome, memory_bytes) if kind in memory_kinds else -1.0
            host = shortage(trial.outcome, host_bytes) if kind is memory_kinds[0] else -1.0
        else:
            memory = distance(trial.outcome.peak_bytes, memory_bytes)
            host = distance(trial.outcome.host_peak_bytes, host_bytes)
        measurement = trial.measurement
        distances = {
            "memory": memory,
            "host_memory": host,
            "runs": -1.0 if measurement else 1.0,
            "quality": self._too_far(trial),
        }
        if self._objective.name == "memory":
            distances["latency"] = (
                self._objective.excess(measurement, self._baseline) if measurement else 1.0
            )
        return distances

    def _too_far(self, trial: Trial) -> float:
        measurement = trial.measurement
        if measurement is None or not measurement.compared:
            return -1.0
        excess_share = excess(measurement.fidelity, self._space.context.quality)
        return max(-1.0, min(1.0, excess_share))

    def _value(self, trial: Trial) -> float:
        if trial.measurement is not None:
            return math.log(self._objective.value(trial.measurement))
        # What did not run counts as the worst so far.
        values = [trial.value for trial in self._study.trials if trial.value is not None]
        return max(values, default=0.0)
