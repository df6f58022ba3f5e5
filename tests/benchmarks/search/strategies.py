"""The rivals by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from search_space.config import Config
from search_space.proposal import Proposal
from search_space.trial import Trial
from tests.benchmarks.search.simple import Descent, Random
from tests.benchmarks.search.training import training_prior
from tuner.records.plan import Plan
from tuner.records.progress import Ending
from tuner.search.prior import NOTHING, Prior


class Proposes(Protocol):
    """What a strategy is: of a rival, None ends the search."""

    def propose(self) -> Proposal | Ending | Config | None: ...

    def learn(self, trial: Trial) -> None: ...


Strategy = Callable[[Plan], Proposes]


def tpe(plan: Plan) -> Proposes:
    from tests.benchmarks.search import guarded

    return guarded.tpe(plan)


def gp(plan: Plan) -> Proposes:
    from tests.benchmarks.search import guarded

    return guarded.gp(plan)


def smac(plan: Plan) -> Proposes:
    from tests.benchmarks.search.rivals.smac import Smac

    return Smac(plan)


def botorch(plan: Plan) -> Proposes:
    from tests.benchmarks.search.rivals.botorch import BoTorch

    return BoTorch(plan)


def kernel_tuner(strategy: str) -> Strategy:
    def made(plan: Plan) -> Proposes:
        from tests.benchmarks.search.rivals import kernel_tuner

        made: Proposes = getattr(kernel_tuner, strategy)(plan)
        return made

    return made


def ours(plan: Plan) -> Proposes:
    """What a run does by default, with a prior made from other machines of the family."""
    return _ours(plan, training_prior(plan.space.context.machine))


def ours_alone(plan: Plan) -> Proposes:
    """The same on the first machine of its kind: nothing is known before."""
    return _ours(plan, NOTHING)


def _ours(plan: Plan, prior: Prior) -> Proposes:
    from tuner.search.optuna.study import Study

    return Study(plan.space, plan.budget, plan.workload.seed, plan.objective, prior=prior)


STRATEGIES: dict[str, Strategy] = {
    "random": Random,
    "tpe": tpe,
    "gp": gp,
    "descent": Descent,
    "smac": smac,
    "botorch": botorch,
    "kt-bayes": kernel_tuner("bayes_opt"),
    "kt-genetic": kernel_tuner("genetic_algorithm"),
    "kt-ils": kernel_tuner("greedy_ils"),
    "ours": ours,
    "ours-alone": ours_alone,
}
"""``ours`` is what a run does by default; ``gp`` is what it did first."""

SLOW = ("gp", "botorch")
"""Over a second of CPU a proposal: six machines have to do."""

SLOW_MACHINES = 6
