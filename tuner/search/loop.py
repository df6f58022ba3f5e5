"""The search: propose, measure, learn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Protocol

from search_space.config import BASELINE
from search_space.errors import ModelError, TuneError
from search_space.proposal import Proposal
from search_space.trial import OUT_OF_MEMORY, Measurement, Purpose, Trial
from tuner.bench import Bench, OutOfTime
from tuner.records.progress import Ending, Reuse
from tuner.search.reuse import reusable
from tuner.search.stop import target_is_reached

DRIFT_TRIALS = 10
"""After so many trials the baseline is measured again, which then costs about a tenth of them."""

DRIFT_AGE = timedelta(minutes=20)
"""After so long, too, where trials are long: a laptop warms up within minutes."""


class Proposer(Protocol):
    """Proposes what to try next, and learns from what became of it."""

    def propose(self, left_s: float) -> Proposal | Ending:
        """The next config to try, within the seconds that are left, or why there is none."""

    def learn(self, trial: Trial) -> None:
        """Add the outcome of a config, proposed here or in an earlier run."""


class Search:
    """The search of one study, from the trials that it reuses to what ended it.

    Without a ``proposer`` Optuna's study proposes.
    """

    def __init__(self, bench: Bench, proposer: Proposer | None = None) -> None:
        self.ending = Ending.INTERRUPTED
        """What ended it; interrupted until it has ended by itself."""
        self.reuse: Reuse = reusable(bench.plan, bench.history())
        self._bench = bench
        self._proposer = proposer
        bench.trials = list(self.reuse.trials)

    def run(self) -> Iterator[Trial]:
        """Yield the trials of earlier runs and then each new one, the baseline first.

        Raises ModelError where the baseline does not load and TuneError where it fails otherwise
        than for want of memory.
        """
        bench, plan = self._bench, self._bench.plan
        proposer = self._proposer or optuna_study(bench)
        trials = list(bench.trials)
        if not any(trial.config.is_baseline for trial in trials):
            trials.insert(0, bench.measure(BASELINE, Purpose.BASELINE))
            bench.trials = list(trials)
        check_baseline(trials[0])
        yield from trials
        if plan.time_limit_s is not None:
            bench.ends_s = time.monotonic() + plan.time_limit_s
        for trial in trials:
            proposer.learn(trial)
        while (ending := self._ending()) is None:
            proposal = proposer.propose(min(bench.left_for_search_s, plan.trial_timeout_s))
            if isinstance(proposal, Ending):
                self.ending = proposal
                return
            if self._drift_is_due():
                bench.measure(BASELINE, Purpose.DRIFT)
            bench.progress.proposed(proposal)
            try:
                trial = bench.measure(proposal.config, proposal=proposal)
            except OutOfTime:
                self.ending = Ending.TIME
                return
            proposer.learn(trial)
            yield trial
        self.ending = ending

    def _ending(self) -> Ending | None:
        """What ends the search now, or None."""
        bench, plan = self._bench, self._bench.plan
        if len(bench.trials) >= plan.trials:
            return Ending.TRIALS
        if bench.left_for_search_s <= 0:
            return Ending.TIME
        return Ending.TARGET if target_is_reached(plan, bench.trials) else None

    def _drift_is_due(self) -> bool:
        if self._bench.baseline is None:
            return False
        history = self._bench.history()
        if history[-1].incumbent is not None:
            # Values are ratios to calls of the same moment: no drift is in them.
            return False
        latest = max(place for place, trial in enumerate(history) if trial.config.is_baseline)
        age = datetime.now(UTC) - datetime.fromisoformat(history[latest].started_at)
        return len(history) - 1 - latest >= DRIFT_TRIALS or age > DRIFT_AGE


def optuna_study(bench: Bench) -> Proposer:
    """What proposes by default."""
    # Optuna takes a second to import: only a run pays for it.
    from tuner.search.knowledge import knowledge, others
    from tuner.search.optuna.study import Study

    plan = bench.plan
    known = knowledge(plan.space.context, others(bench.store, plan.space.context))
    study = Study(
        plan.space,
        plan.budget,
        plan.workload.seed,
        plan.objective,
        plan.sampler,
        known.prior,
    )
    if prediction := study.prediction():
        bench.progress.predicted(prediction)
    return study


def check_baseline(trial: Trial) -> None:
    """Raise where a failed baseline makes the run pointless; for want of memory it does not."""
    failure = trial.outcome
    if isinstance(failure, Measurement) or failure.kind in OUT_OF_MEMORY:
        return
    error = ModelError if failure.phase == "load" else TuneError
    fault = "the model does not load" if failure.phase == "load" else "the baseline fails"
    raise error(f"{fault}: {failure.message} (see 'tune show {trial.number}')")
