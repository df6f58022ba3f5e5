"""The search: propose, measure, learn."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from search_space.config import BASELINE
from search_space.errors import ModelError, TuneError
from search_space.trial import OUT_OF_MEMORY, Measurement, Purpose, Trial
from tuner.bench import Bench
from tuner.records.progress import Ending, Reuse
from tuner.search.reuse import reusable
from tuner.search.stop import Clock

DRIFT_TRIALS = 10
DRIFT_AGE = timedelta(minutes=20)
"""After so many trials or so long the baseline is measured again: a laptop warms up within
minutes, and a baseline of two calls costs less than a tenth of ten trials."""


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
        clock = Clock(plan.time_limit_s)
        # Optuna takes a second to import: only a run pays for it.
        from tuner.search.optuna.study import Study

        study = Study(plan.space, plan.budget, plan.workload.seed, plan.objective)
        for trial in trials:
            study.learn(trial)
        while len(bench.trials) < plan.trials and not clock.is_over:
            config = study.propose()
            if config is None:
                self.ending = Ending.EXHAUSTED
                return
            if self._drift_is_due():
                bench.measure(BASELINE, Purpose.DRIFT)
            trial = bench.measure(config)
            study.learn(trial)
            yield trial
        self.ending = Ending.TRIALS if len(bench.trials) >= plan.trials else Ending.TIME

    def _drift_is_due(self) -> bool:
        if self._bench.baseline is None:
            return False
        history = self._bench.history()
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
