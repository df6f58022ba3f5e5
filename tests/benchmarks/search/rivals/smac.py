"""SMAC: a random forest on log seconds, the rules as forbidden clauses, the portfolio first."""

from __future__ import annotations

import logging
import math

from ConfigSpace import (
    Categorical,
    Configuration,
    ConfigurationSpace,
    ForbiddenAndConjunction,
    ForbiddenEqualsClause,
    ForbiddenInClause,
)
from smac import HyperparameterOptimizationFacade, Scenario
from smac.runhistory import TrialInfo, TrialValue

from search_space.config import Config, completed
from search_space.space import Space
from search_space.trial import Trial
from tests.benchmarks.search.enumeration import clash_tables
from tests.benchmarks.search.rivals.seeded import Seeded
from tuner.records.plan import Plan

CHALLENGERS = 1000
"""SMAC's own 10,000 take ten times as long to draw where a few percent of the space are valid."""

ASKED = 20
"""SMAC may propose what it knows; after so many times it has nothing new."""

WORSE = 2.0
"""What does not work counts as so many times the slowest that does."""

logging.getLogger("smac").setLevel(logging.ERROR)


class Smac(Seeded):
    """SMAC's facade for tuning hyperparameters, asked and told."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._configs = config_space(plan.space, plan.workload.seed)
        self._latencies_s: list[float] = []
        scenario = Scenario(
            self._configs,
            name="rival",
            output_directory=plan.cache_dir / "smac",
            deterministic=True,
            n_trials=10 * plan.trials,
            seed=plan.workload.seed,
        )
        facade = HyperparameterOptimizationFacade
        self._smac = facade(
            scenario,
            target_function=_unused,
            initial_design=facade.get_initial_design(scenario, n_configs=0),
            intensifier=facade.get_intensifier(scenario, max_config_calls=1),
            acquisition_maximizer=facade.get_acquisition_maximizer(
                scenario, challengers=CHALLENGERS
            ),
            logging_level=False,
            overwrite=True,
        )

    def _modelled(self) -> Config | None:
        for _ in range(ASKED):
            asked = self._smac.ask()
            config = Config({name: str(value) for name, value in dict(asked.config).items()})
            if config not in self._tried:
                return config
        return None

    def _add(self, trial: Trial) -> None:
        works = trial.judged(self._plan.budget) is None
        if works and trial.measurement is not None:
            self._latencies_s.append(trial.measurement.latency_s)
            cost_s = trial.measurement.latency_s
        else:
            cost_s = WORSE * max(self._latencies_s, default=self._slow_s(trial))
        chosen = completed(trial.config)
        values = {name: chosen[name] for name in self._plan.space.open}
        info = TrialInfo(Configuration(self._configs, values=values), seed=0)
        self._smac.tell(info, TrialValue(cost=cost_s), save=False)

    @staticmethod
    def _slow_s(trial: Trial) -> float:
        """What stands for the slowest while nothing works."""
        return trial.measurement.latency_s if trial.measurement else trial.cost_s


def config_space(space: Space, seed: int) -> ConfigurationSpace:
    """The space, its rules as pairs that are forbidden."""
    configs = ConfigurationSpace(seed=seed)
    names = tuple(space.open)
    hypers = {
        name: Categorical(name, values, default=values[0]) for name, values in space.open.items()
    }
    configs.add(list(hypers.values()))
    for (first, second), clashes in clash_tables(space).items():
        one, other = names[first], names[second]
        for place, value in enumerate(space.open[one]):
            excluded = [
                each for each, clash in zip(space.open[other], clashes[place], strict=True) if clash
            ]
            if excluded:
                configs.add(
                    ForbiddenAndConjunction(
                        ForbiddenEqualsClause(hypers[one], value),
                        ForbiddenInClause(hypers[other], excluded),
                    )
                )
    return configs


def _unused(config: Configuration, seed: int = 0) -> float:
    """SMAC wants a function that it never calls when it is asked and told."""
    return math.nan
