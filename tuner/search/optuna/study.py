"""Optuna's study: proposes the next config from the trials so far; rebuilt from the ledger."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Mapping

import optuna
from optuna.trial import TrialState, create_trial

from search_space.budget import Budget
from search_space.config import Config, completed
from search_space.fidelity import excess
from search_space.proposal import Proposal, Reason
from search_space.space import Space
from search_space.trial import Failure, FailureKind, Measurement, Trial
from tuner.records.objective import LATENCY, Objective
from tuner.records.progress import Ending
from tuner.search.optuna.samplers import (
    OPTUNAS,
    AdditiveSampler,
    ExhaustiveSampler,
    GuardedSampler,
    NothingLeft,
    Sampler,
    distributions,
)
from tuner.search.prior import NOTHING, Prior
from tuner.search.proposer import Proposer

optuna.logging.set_verbosity(optuna.logging.WARNING)


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
    """Proposes configs and learns from trials; kept in memory."""

    def __init__(
        self,
        space: Space,
        budget: Budget,
        seed: int,
        objective: Objective = LATENCY,
        sampler: str = "additive",
        prior: Prior = NOTHING,
    ) -> None:
        """``sampler`` is one of `tuner.records.request.SAMPLERS`."""
        self._space = space
        self._budget = budget
        self._objective = objective
        self._baseline: Measurement | None = None
        self._trials: list[Trial] = []
        self._pending: optuna.Trial | None = None
        self._proposer: Proposer | None = None
        self._sampler = self._sampler_of(sampler, seed, prior)
        self._study = optuna.create_study(sampler=self._sampler, direction="minimize")

    def _sampler_of(self, name: str, seed: int, prior: Prior) -> Sampler:
        if name == "additive" and self._space.open:
            self._proposer = Proposer(self._space, self._budget, self._objective, seed, prior)
            return AdditiveSampler(self._space, self._trials, self._proposer)
        if name == "exhaustive" or not self._space.open:
            return ExhaustiveSampler(self._space, self._trials)
        return GuardedSampler(self._space, self._trials, OPTUNAS[name](seed % 2**32), seed)

    def prediction(self) -> Proposal | None:
        """What is expected before any trial; None where nothing is open, or no sampler of ours."""
        return self._proposer.prediction() if self._proposer else None

    def propose(self, left_s: float = math.inf, busy: Collection[Config] = ()) -> Proposal | Ending:
        """The next config to try, none of those that are busy, or why there is none."""
        self._sampler.left_s, self._sampler.busy = left_s, busy
        if not self._space.open:
            # With nothing to choose Optuna asks no sampler: there is one config or none.
            only = Config(self._space.fix)
            is_tried = only in busy or any(trial.config == only for trial in self._trials)
            is_left = not is_tried and self._space.holds(only)
            return Proposal(only, Reason.SAMPLER) if is_left else Ending.EXHAUSTED
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self._pending = self._study.ask(distributions(self._space))
        except NothingLeft as nothing:
            return nothing.ending
        assert self._sampler.proposal is not None
        return self._sampler.proposal

    def learn(self, trial: Trial) -> None:
        """Add the outcome of a config, proposed here or in an earlier run."""
        pending, self._pending = self._pending, None
        self._trials.append(trial)
        if trial.config.is_baseline:
            self._baseline = trial.measurement
        if not self._space.holds(trial.config):
            return
        value, constraints = self._value(trial), self.constraints(trial)
        if pending is not None and pending.params == self._open(trial.config):
            for name, each in constraints.items():
                pending.set_constraint(name, each)
            if value is None:
                self._study.tell(pending, state=TrialState.FAIL)
            else:
                self._study.tell(pending, value)
            return
        if value is None:
            return
        self._study.add_trial(
            create_trial(
                value=value,
                params=self._open(trial.config),
                distributions=distributions(self._space),
                constraints=constraints,
            )
        )

    def _open(self, config: Mapping[str, str]) -> dict[str, str]:
        choices = completed(config)
        return {name: choices[name] for name in self._space.open}

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

    def _value(self, trial: Trial) -> float | None:
        if trial.measurement is not None:
            return math.log(self._objective.value(trial.measurement))
        # What did not run counts as the worst so far, for samplers that know values alone.
        values = [each.value for each in self._study.trials if each.value is not None]
        return max(values, default=None)
