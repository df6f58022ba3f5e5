"""A rival that begins as coordinate descent does: with the first configs of the portfolio."""

from __future__ import annotations

from abc import ABC, abstractmethod

from search_space.config import Config
from search_space.trial import OUT_OF_MEMORY, Failure, Trial
from tests.benchmarks.search.portfolio import portfolio, sparing
from tests.benchmarks.search.simple import SEEDS
from tuner.records.plan import Plan


class Seeded(ABC):
    """Proposes the seeds, then what its model finds."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._tried: set[Config] = set()
        self._seeds = portfolio(plan.space)[:SEEDS]

    def propose(self) -> Config | None:
        """The next config, or None where the model has nothing new."""
        while self._seeds:
            seed = self._seeds.pop(0)
            if seed not in self._tried:
                return seed
        return self._modelled()

    def learn(self, trial: Trial) -> None:
        """Add the outcome of a config."""
        self._tried.add(trial.config)
        failure = trial.outcome if isinstance(trial.outcome, Failure) else None
        if trial.config.is_baseline and failure and failure.kind in OUT_OF_MEMORY:
            self._seeds = [*sparing(self._plan.space), *self._seeds]
        self._add(trial)

    @abstractmethod
    def _modelled(self) -> Config | None: ...

    @abstractmethod
    def _add(self, trial: Trial) -> None: ...
