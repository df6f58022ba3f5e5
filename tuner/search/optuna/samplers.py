"""The samplers: ours, and Optuna's behind a guard that keeps them to valid, untried configs."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import combinations, product
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.study import Study as OptunaStudy
from optuna.trial import FrozenTrial

from search_space.config import Config, completed
from search_space.proposal import Proposal, Reason
from search_space.space import Space
from search_space.trial import Trial
from tuner.records.progress import Ending
from tuner.search.proposer import Proposer

STARTUP_TRIALS = 4
"""Before so many trials a Gaussian process of Optuna's is given random configs: of fewer it learns
little, and more would leave it less of a short run."""


class NothingLeft(Exception):
    """No config is left to try, or none that is worth a trial: what ends the search."""

    def __init__(self, ending: Ending = Ending.EXHAUSTED) -> None:
        super().__init__(ending)
        self.ending = ending


class Sampler(BaseSampler):
    """A sampler of Optuna's interface that gives the reason of its last proposal."""

    def __init__(self, space: Space, trials: Sequence[Trial]) -> None:
        self.space = space
        self.trials = trials
        """Those that the study has learned: a live view."""
        self.proposal: Proposal | None = None
        self.left_s = math.inf
        """The most seconds that a trial may take."""
        self.busy: Collection[Config] = ()
        """What is being tried already, by another run."""

    @property
    def tried(self) -> set[Config]:
        """What need not be tried again."""
        return {*self.busy, *(trial.config for trial in self.trials)}

    def infer_relative_search_space(
        self, study: OptunaStudy, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The whole space, always: it is flat and fixed."""
        return distributions(self.space)

    def sample_relative(
        self, study: OptunaStudy, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The choices of a config that is valid and untried; raises NothingLeft."""
        self.proposal = self.next(study, trial, search_space)
        choices = completed(self.proposal.config)
        return {name: choices[name] for name in search_space}

    def next(
        self, study: OptunaStudy, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Proposal:
        """The next proposal; raises NothingLeft."""
        raise NotImplementedError

    def sample_independent(
        self,
        study: OptunaStudy,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Never called: the relative space is the whole space."""
        raise AssertionError(param_name)


class AdditiveSampler(Sampler):
    """Ours: effects that add up, with a prior; see ``tuner.search.proposer``."""

    def __init__(self, space: Space, trials: Sequence[Trial], proposer: Proposer) -> None:
        super().__init__(space, trials)
        self._proposer = proposer

    def next(
        self, study: OptunaStudy, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Proposal:
        """The config of the largest expected improvement for its seconds."""
        proposal = self._proposer.next(self.trials, self.left_s, self.busy)
        if isinstance(proposal, Ending):
            raise NothingLeft(proposal)
        assert self.space.holds(proposal.config), proposal.config
        return proposal


class ExhaustiveSampler(Sampler):
    """Every config in turn, those with the fewest changes first."""

    def __init__(self, space: Space, trials: Sequence[Trial]) -> None:
        super().__init__(space, trials)
        self._left = space.configs()

    def next(
        self, study: OptunaStudy, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Proposal:
        """The next config that no trial has had."""
        tried = self.tried
        config = next((config for config in self._left if config not in tried), None)
        if config is None:
            raise NothingLeft
        return Proposal(config, Reason.SAMPLER)


class GuardedSampler(Sampler):
    """Lets a sampler of Optuna's propose, and moves that to the nearest valid, untried config."""

    def __init__(
        self, space: Space, trials: Sequence[Trial], inner: BaseSampler, seed: int
    ) -> None:
        super().__init__(space, trials)
        self._inner = inner
        self._random = random.Random(seed)

    def next(
        self, study: OptunaStudy, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Proposal:
        """The valid, untried config that differs in the fewest knobs from what was proposed."""
        proposed = self._inner.sample_relative(study, trial, search_space)
        start = {
            name: str(proposed.get(name, self._random.choice(values)))
            for name, values in self.space.open.items()
        }
        tried = self.tried
        for candidate in self._outward(start):
            if Config(candidate) not in tried and self.space.holds(candidate):
                return Proposal(Config(candidate), Reason.SAMPLER)
        raise NothingLeft

    def _outward(self, start: dict[str, str]) -> Iterator[dict[str, str]]:
        """The configs in order of the number of knobs in which they differ from ``start``."""
        knobs = self._shuffled(self.space.open)
        for distance in range(len(knobs) + 1):
            for names in self._shuffled(combinations(knobs, distance)):
                alternatives = [
                    [value for value in self.space.open[name] if value != start[name]]
                    for name in names
                ]
                for values in self._shuffled(product(*alternatives)):
                    yield self.space.fix | start | dict(zip(names, values, strict=True))

    def _shuffled(self, items: Any) -> list[Any]:
        order = list(items)
        self._random.shuffle(order)
        return order


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """One categorical for each knob that is left to choose."""
    return {name: CategoricalDistribution(values) for name, values in space.open.items()}


OPTUNAS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(seed=seed, multivariate=True),
    "gp": lambda seed: GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS),
    "random": lambda seed: RandomSampler(seed=seed),
}
"""Those of Optuna's samplers that do with categorical choices and constraints."""
