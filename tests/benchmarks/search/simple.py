"""Rivals without a model: random search, and coordinate descent from the portfolio."""

from __future__ import annotations

import random

from search_space.config import Config, completed
from search_space.trial import OUT_OF_MEMORY, Failure, Trial
from tests.benchmarks.search.portfolio import portfolio, sparing
from tuner.records.plan import Plan

MOST_DRAWN = 100_000
"""Draws without a new valid config, after which there is none: of real spaces 1 % is valid."""

SEEDS = 4
"""Configs of the portfolio before the descent begins."""


class Random:
    """Any valid config that has not been tried."""

    def __init__(self, plan: Plan) -> None:
        self._space = plan.space
        self._tried: set[Config] = set()
        self._draw = random.Random(plan.workload.seed)

    def propose(self) -> Config | None:
        for _ in range(MOST_DRAWN):
            choices = {name: self._draw.choice(each) for name, each in self._space.open.items()}
            config = Config(choices)
            if config not in self._tried and self._space.holds(config):
                return config
        return None

    def learn(self, trial: Trial) -> None:
        self._tried.add(trial.config)


class Descent:
    """One change at a time to the best config so far; after a round without gain, two at a time."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._space = plan.space
        self._draw = random.Random(plan.workload.seed)
        self._tried: set[Config] = set()
        self._seeds = portfolio(plan.space)[:SEEDS]
        self._best: tuple[tuple[int, float], Config] | None = None
        self._queue: list[dict[str, str]] = []

    def propose(self) -> Config | None:
        while self._seeds:
            seed = self._seeds.pop(0)
            if seed not in self._tried:
                return seed
        for _ in range(MOST_DRAWN):
            if not self._queue:
                self._queue = self._round() or self._jumps()
            config = Config({**self._incumbent, **self._queue.pop(0)})
            if config not in self._tried and self._space.holds(config):
                return config
        return None

    def learn(self, trial: Trial) -> None:
        self._tried.add(trial.config)
        failure = trial.outcome if isinstance(trial.outcome, Failure) else None
        if trial.config.is_baseline and failure and failure.kind in OUT_OF_MEMORY:
            self._seeds = [*sparing(self._space), *self._seeds]
        rank = self._rank(trial)
        if self._best is None or rank < self._best[0]:
            # A round under way goes on with the knobs that are left, around the new best.
            self._best = rank, trial.config

    @property
    def _incumbent(self) -> dict[str, str]:
        config = self._best[1] if self._best else Config()
        chosen = completed(config)
        return {name: chosen[name] for name in self._space.open}

    def _rank(self, trial: Trial) -> tuple[int, float]:
        """What is better comes first: feasible by latency, then by memory, then failed."""
        budget = self._plan.budget
        if trial.measurement is None:
            return 2, 0.0
        if trial.judged(budget) is None:
            return 0, trial.measurement.latency_s
        return 1, trial.measurement.peak_bytes / (budget.memory_bytes or 1)

    def _round(self) -> list[dict[str, str]]:
        """The untried single changes, knob by knob."""
        names = list(self._space.open)
        self._draw.shuffle(names)
        changes = [
            {name: value}
            for name in names
            for value in self._space.open[name]
            if value != self._incumbent[name]
        ]
        return [change for change in changes if self._is_new(change)]

    def _is_new(self, change: dict[str, str]) -> bool:
        config = Config({**self._incumbent, **change})
        return config not in self._tried and self._space.holds(config)

    def _jumps(self) -> list[dict[str, str]]:
        jumps = []
        for _ in range(100):
            names = self._draw.sample(list(self._space.open), 2)
            jumps.append({name: self._draw.choice(self._space.open[name]) for name in names})
        return jumps
