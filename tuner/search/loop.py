"""The search: propose, measure, learn."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol

from search_space.config import BASELINE, Config
from search_space.errors import ModelError, TuneError
from search_space.proposal import Proposal
from search_space.trial import OUT_OF_MEMORY, Measurement, Purpose, Trial
from storage import POLL_S
from tuner.bench import Bench, OutOfTime
from tuner.records.progress import Ending, Reuse
from tuner.search.reuse import reusable
from tuner.search.stop import target_is_reached

DRIFT_TRIALS = 10
"""After so many trials the baseline is measured again, which then costs about a tenth of them."""

DRIFT_AGE = timedelta(minutes=20)
"""After so long, too, where trials are long: a laptop warms up within minutes."""

WAITS_FOR_BASELINE = "Another run measures the baseline: waiting for its trial."


class Proposer(Protocol):
    """Proposes what to try next, and learns from what became of it."""

    def propose(self, left_s: float, busy: Collection[Config] = ()) -> Proposal | Ending:
        """The next config to try, within the seconds that are left, or why there is none.

        Those that are ``busy`` are measured by another run.
        """

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
        if not any(trial.config.is_baseline for trial in bench.trials):
            self._reach_baseline()
            bench.trials.sort(key=lambda trial: not trial.config.is_baseline)
        trials = list(bench.trials)
        check_baseline(trials[0])
        yield from trials
        if plan.time_limit_s is not None:
            bench.ends_s = time.monotonic() + plan.time_limit_s
        for trial in trials:
            proposer.learn(trial)
        while (ending := self._ending()) is None:
            if news := self._news():
                for trial in news:
                    proposer.learn(trial)
                yield from news
                continue
            proposal = self._claimed(proposer)
            if isinstance(proposal, Ending):
                self.ending = proposal
                return
            if proposal is None:
                continue
            with bench.claims.held(plan.subject(proposal.config)):
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

    def _reach_baseline(self) -> None:
        """Measure the baseline, which every run needs, or take the trial of another run."""
        bench, subject = self._bench, self._bench.plan.subject(BASELINE)
        with bench.claims.in_turn(subject, partial(bench.progress.waiting, WAITS_FOR_BASELINE)):
            if not any(trial.config.is_baseline for trial in self._news()):
                bench.measure(BASELINE, Purpose.BASELINE)

    def _news(self) -> list[Trial]:
        """The trials that other runs have stored since, as far as this search can reuse them."""
        bench = self._bench
        known = {trial.config for trial in bench.trials}
        usable = reusable(bench.plan, bench.history()).trials
        news = [trial for trial in usable if trial.config not in known]
        del news[max(0, bench.plan.trials - len(bench.trials)) :]
        bench.trials.extend(news)
        self.reuse = replace(self.reuse, trials=(*self.reuse.trials, *news))
        for trial in news:
            bench.progress.shared(trial)
        return news

    def _claimed(self, proposer: Proposer) -> Proposal | Ending | None:
        """What to try next, ours alone; None where another run has just tried or still tries it."""
        bench, busy = self._bench, set[Config]()
        left_s = min(bench.left_for_search_s, bench.plan.trial_timeout_s)
        while True:
            proposal = proposer.propose(left_s, busy)
            if isinstance(proposal, Ending):
                if not busy:
                    return proposal
                # Their trials may bring something else to try.
                time.sleep(POLL_S)
                return None
            subject = bench.plan.subject(proposal.config)
            if not bench.claims.take(subject):
                busy.add(proposal.config)
                continue
            # It may have been stored before it was claimed, and after the history was read.
            usable = reusable(bench.plan, bench.history()).trials
            if any(trial.config == proposal.config for trial in usable):
                bench.claims.drop(subject)
                return None
            return proposal

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
        history = self._bench.known
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
