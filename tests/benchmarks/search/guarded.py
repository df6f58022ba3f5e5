"""Optuna's samplers behind the guard that this project had: a proposal moves to a valid config.

The project's first search was ``GPSampler`` so guarded, with the portfolio; it is kept here as a
rival, whatever the search is now.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping

import numpy
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.trial import create_trial

from search_space.budget import Budget
from search_space.config import Config, completed
from search_space.fidelity import excess
from search_space.space import Space
from search_space.trial import OUT_OF_MEMORY, Failure, FailureKind, Trial
from tests.benchmarks.search.enumeration import Configs
from tests.benchmarks.search.portfolio import portfolio, sparing
from tests.benchmarks.search.spaces import valid_of
from tuner.records.plan import Plan

optuna.logging.set_verbosity(optuna.logging.WARNING)

STARTUP_TRIALS = 4


class Nearest:
    """Finds the valid config that has not been tried and differs in the fewest knobs."""

    def __init__(self, space: Space, seed: int) -> None:
        self._valid = valid_of(space)
        self._draw = numpy.random.default_rng(seed)

    def __call__(self, start: Mapping[str, str], tried: set[Config]) -> Config | None:
        places = Configs.of(self._valid.space, start).places[0]
        distances = (self._valid.places != places).sum(axis=1)
        # Ties in any order; of so many at least one has not been tried.
        order = numpy.argsort(distances + self._draw.random(len(distances)))
        for row in order[: len(tried) + 1]:
            config = self._valid.config(row)
            if config not in tried:
                return config
        return None


class GuardedStudy:
    """A sampler of Optuna with constraints; learns what became of the configs that were tried."""

    def __init__(self, plan: Plan, sampler: BaseSampler, with_portfolio: bool) -> None:
        self._space = plan.space
        self._budget: Budget = plan.budget
        self._tried: set[Config] = set()
        self._nearest = Nearest(plan.space, plan.workload.seed)
        self._seeds = portfolio(plan.space) if with_portfolio else []
        self._spares = with_portfolio
        self._study = optuna.create_study(sampler=sampler, direction="minimize")
        self._distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(values) for name, values in plan.space.open.items()
        }

    def propose(self) -> Config | None:
        """The next config to try, or None when all have been tried."""
        while self._seeds:
            seed = self._seeds.pop(0)
            if seed not in self._tried:
                return seed
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            asked = self._study.ask(self._distributions)
        start = {name: str(value) for name, value in asked.params.items()}
        # What is told below is what ran, and not what was asked for.
        self._study.tell(asked, state=optuna.trial.TrialState.FAIL)
        return self._nearest(start, self._tried)

    def learn(self, trial: Trial) -> None:
        """Add the outcome of a config."""
        self._tried.add(trial.config)
        failure = trial.outcome if isinstance(trial.outcome, Failure) else None
        ran_out = failure is not None and failure.kind in OUT_OF_MEMORY
        if trial.config.is_baseline and ran_out and self._spares:
            self._seeds = [*sparing(self._space), *self._seeds]
        chosen = completed(trial.config)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._study.add_trial(
                create_trial(
                    value=self._value(trial),
                    params={name: chosen[name] for name in self._space.open},
                    distributions=self._distributions,
                    constraints=self._constraints(trial),
                )
            )

    def _value(self, trial: Trial) -> float:
        if trial.measurement is not None:
            return math.log(trial.measurement.latency_s)
        # What did not run counts as the worst so far.
        completed_trials = self._study.get_trials(
            deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)
        )
        return max((each.value for each in completed_trials if each.value is not None), default=0.0)

    def _constraints(self, trial: Trial) -> dict[str, float]:
        """How far from feasible, as Optuna wants it: at most 0 is feasible."""
        limit_bytes = self._budget.memory_bytes or 2**62
        if isinstance(trial.outcome, Failure):
            kinds = FailureKind.HOST_OUT_OF_MEMORY, FailureKind.DEVICE_OUT_OF_MEMORY
            peak_bytes = trial.outcome.peak_bytes
            short = 1.0 if peak_bytes is None else max(0.01, peak_bytes / limit_bytes - 1)
            memory = short if trial.outcome.kind in kinds else -1.0
            return {"memory": memory, "runs": 1.0, "quality": -1.0}
        quality = -1.0
        if trial.outcome.compared:
            quality = max(
                -1.0, min(1.0, excess(trial.outcome.fidelity, self._space.context.quality))
            )
        memory = trial.outcome.peak_bytes / limit_bytes - 1
        return {"memory": memory, "runs": -1.0, "quality": quality}


def gp(plan: Plan) -> GuardedStudy:
    """The project's first search."""
    startup = max(STARTUP_TRIALS, len(portfolio(plan.space)) + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = GPSampler(seed=plan.workload.seed, n_startup_trials=startup)
    return GuardedStudy(plan, sampler, with_portfolio=True)


def tpe(plan: Plan) -> GuardedStudy:
    """Optuna's default, with constraints."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = TPESampler(seed=plan.workload.seed)
    return GuardedStudy(plan, sampler, with_portfolio=False)
