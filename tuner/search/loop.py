"""The search: propose, measure, learn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from search_space.config import BASELINE
from search_space.errors import ModelError, TuneError
from search_space.trial import OUT_OF_MEMORY, Measurement, Purpose, Trial
from tuner.bench import Bench, OutOfTime
from tuner.records.progress import Ending, Reuse
from tuner.search.reuse import reusable

DRIFT_TRIALS = 10
"""After so many trials the baseline is measured again, which then costs about a tenth of them."""

DRIFT_AGE = timedelta(minutes=20)
"""After so long, too, where trials are long: a laptop warms up within minutes."""


class Search:
    """The search of one study, from the trials that it reuses to what ended it."""

    def __init__(self, bench: Bench) -> None:
        self.ending = Ending.INTERRUPTED
        """What ended it; interrupted until it has ended by itself."""
        self.reuse: Reuse = reusable(bench.plan, bench.history())
        self._bench = bench
        bench.trials = list(self.reuse.trials)

    def run(self) -> Iterator[Trial]:
        """Yield the trials of earlier runs and then each new one, the baseline first.

        Raises ModelError where the baseline does not load and TuneError where it fails otherwise
        than for want of memory.
        """
        bench, plan = self._bench, self._bench.plan
        trials = list(bench.trials)
        if not any(trial.config.is_baseline for trial in trials):
            trials.insert(0, bench.measure(BASELINE, Purpose.BASELINE))
            bench.trials = list(trials)
        check_baseline(trials[0])
        yield from trials
        if plan.time_limit_s is not None:
            bench.ends_s = time.monotonic() + plan.time_limit_s
        # Optuna takes a second to import: only a run pays for it.
        from tuner.search.optuna.study import Study

        study = Study(plan.space, plan.budget, plan.workload.seed, plan.objective)
        for trial in trials:
            study.learn(trial)
        while len(bench.trials) < plan.trials and bench.left_for_search_s > 0:
            config = study.propose()
            if config is None:
                self.ending = Ending.EXHAUSTED
                return
            if self._drift_is_due():
                bench.measure(BASELINE, Purpose.DRIFT)
            try:
                trial = bench.measure(config)
            except OutOfTime:
                break
            study.learn(trial)
            yield trial
        self.ending = Ending.TRIALS if len(bench.trials) >= plan.trials else Ending.TIME

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


def check_baseline(trial: Trial) -> None:
    """Raise where a failed baseline makes the run pointless; for want of memory it does not."""
    failure = trial.outcome
    if isinstance(failure, Measurement) or failure.kind in OUT_OF_MEMORY:
        return
    error = ModelError if failure.phase == "load" else TuneError
    fault = "the model does not load" if failure.phase == "load" else "the baseline fails"
    raise error(f"{fault}: {failure.message} (see 'tune show {trial.number}')")
