"""Three strategies of Kernel Tuner, each in a thread that waits for its trials.

They take a space of numbers: a config is the places of its choices. The budgets count as in Kernel
Tuner itself: what does not fit, crashes or moves the image too far is an invalid config.
"""

from __future__ import annotations

import random
import threading
import warnings
from collections.abc import Sequence
from importlib import import_module
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import numpy

from search_space.config import BASELINE, Config
from search_space.trial import Trial
from tests.benchmarks.search.enumeration import Configs
from tests.benchmarks.search.spaces import valid_of
from tuner.records.plan import Plan

POPULATION = 10
"""A quarter of 40 trials; Kernel Tuner's own, 20 and 26, are for hundreds of evaluations."""

INVALID = 1e20
"""What ``bayes_opt`` knows as invalid. An error would be the largest number there is, which that
strategy of Kernel Tuner 1.5 takes for a measurement."""

Places = tuple[int, ...]
Result = dict[str, Any]


class KernelTuner:
    """A strategy of Kernel Tuner; what it asks for again is answered from what was learned."""

    def __init__(self, plan: Plan, strategy: str, **options: Any) -> None:
        self._plan = plan
        self._valid = valid_of(plan.space)
        self._strategy = import_module(f"kernel_tuner.strategies.{strategy}")
        self._options = options
        self._learned: dict[Places, Result] = {}
        self._asked: SimpleQueue[Places | None] = SimpleQueue()
        self._answers: SimpleQueue[Result | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._answer: Result | None = None
        self.dev = SimpleNamespace(max_threads=1)

    def propose(self) -> Config | None:
        """The next config; None when the strategy has ended by itself."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._tune, daemon=True)
            self._thread.start()
        else:
            self._answers.put(self._answer)
        places = self._asked.get()
        if places is None:
            return None
        choices = zip(self._plan.space.open.items(), places, strict=True)
        return Config({name: values[place] for (name, values), place in choices})

    def learn(self, trial: Trial) -> None:
        """Keep the outcome; after the last one the thread ends."""
        self._answer = self._result(trial)
        self._learned[self._places(trial.config)] = self._answer
        if len(self._learned) >= self._plan.trials and self._thread is not None:
            self._answers.put(None)

    def _result(self, trial: Trial) -> Result:
        works = trial.judged(self._plan.budget) is None and trial.measurement is not None
        return {"time": trial.measurement.latency_s if works else INVALID}

    def _places(self, config: Config) -> Places:
        return tuple(map(int, Configs.of(self._plan.space, config).places[0]))

    def _tune(self) -> None:
        """Runs in the thread, which alone draws from the generators that Kernel Tuner shares."""
        from kernel_tuner.interface import Options
        from kernel_tuner.searchspace import Searchspace
        from kernel_tuner.util import StopCriterionReached, TuningBudget

        random.seed(self._plan.workload.seed)
        numpy.random.seed(self._plan.workload.seed)
        names = self._valid.knobs
        choices = self._plan.space.open
        params = {name: list(range(len(choices[name]))) for name in names}
        rows = (dict(zip(names, row, strict=True)) for row in self._valid.places.tolist())
        space = Searchspace(
            None, None, None, from_cache={"tune_params": params, "cache": dict(enumerate(rows))}
        )
        tuning = Options(
            tune_params=params,
            strategy_options=Options(max_fevals=self._plan.trials, **self._options),
            objective=["time"],
            objective_higher_is_better=[False],
            budget=TuningBudget(max_fevals=10**9),  # The benchmark ends it.
            verbose=False,
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._strategy.tune(space, self, tuning)
        except StopCriterionReached:
            pass
        finally:
            self._asked.put(None)

    # What Kernel Tuner calls of a runner.

    def run(self, configs: Sequence[Sequence[int]], tuning_options: object) -> list[Result]:
        return [self._measured(tuple(map(int, config))) for config in configs]

    def add_strategy_time(self, spent_s: float) -> None:
        pass

    def _measured(self, places: Places) -> Result:
        from kernel_tuner.util import StopCriterionReached

        if places not in self._learned:
            self._asked.put(places)
            if self._answers.get() is None:
                raise StopCriterionReached
        return dict(self._learned[places])


def _baseline(plan: Plan) -> list[int]:
    return [int(place) for place in Configs.of(plan.space, BASELINE).places[0]]


def bayes_opt(plan: Plan) -> KernelTuner:
    return KernelTuner(plan, "bayes_opt", popsize=POPULATION)


def genetic_algorithm(plan: Plan) -> KernelTuner:
    return KernelTuner(plan, "genetic_algorithm", popsize=POPULATION, x0=_baseline(plan))


def greedy_ils(plan: Plan) -> KernelTuner:
    return KernelTuner(plan, "greedy_ils", x0=_baseline(plan))
