"""The loop: propose, measure, keep, learn."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from search_space.config import changes, makes_another_image
from search_space.errors import ModelError, TuneError
from search_space.identity import fingerprint
from search_space.knobs.batch import images_in_call
from search_space.trial import OUT_OF_MEMORY, Config, Failure, Measurement, Trial
from storage import Store
from tuner.measuring.interleaving import WAITING, possible
from tuner.measuring.memory.limits import free_host_bytes
from tuner.measuring.noise.cpu_speed import best_pace_s, shorter_s
from tuner.records.job import Job
from tuner.records.objective import LATENCY, SEARCHED, best, latency_s
from tuner.records.plan import Plan
from tuner.records.progress import Progress
from tuner.runners.base import Deadlines, Runner
from tuner.search.reuse import lost_to_noise, usable_baseline

CAP = 1.5
"""A steady call slower than this multiple of the best so far ends a trial."""

HOPELESS = 2.0
"""A call with nothing to compile ends the trial beyond this multiple of the baseline's; one that
makes more images may take longer in proportion."""

HOPELESS_SLACK_S = 5.0
"""Granted on top, so that a small pipeline on a busy machine is not given up too soon."""


ROOM = 0.8
"""Trials live side by side where they need no more than this share of the host's free memory."""

DRIFT_TRIALS = 10
"""The baseline is measured again after this many trials."""

DRIFT_AGE = timedelta(minutes=20)
"""The baseline is measured again after this long."""


def tune(plan: Plan, store: Store, run: Runner, progress: Progress) -> Iterator[Trial]:
    """Yield the trials of earlier runs and then each new one once it is in the ledger.

    The first is the baseline. Raises ModelError where the baseline does not load and TuneError
    where it fails otherwise than for want of memory.
    """
    with Loop(plan, store, run, progress) as loop:
        yield from loop.search()


def check_baseline(trial: Trial) -> None:
    """Raise where a failed baseline makes the run pointless; for want of memory it does not."""
    failure = trial.outcome
    if isinstance(failure, Measurement) or failure.kind in OUT_OF_MEMORY:
        return
    error = ModelError if failure.phase == "load" else TuneError
    what = "the model does not load" if failure.phase == "load" else "the baseline fails"
    raise error(f"{what}: {failure.message} (see 'tune show {trial.number}')")


class Loop:
    """The state of a run: what has been measured, and when it must end; a context manager."""

    def __init__(self, plan: Plan, store: Store, run: Runner, progress: Progress) -> None:
        self.plan = plan
        self._store = store
        self._run = run
        self._progress = progress
        self._trials: list[Trial] = []
        self._pace_s: float | None = None
        self._began_s = time.monotonic()
        self._forget_compiled()
        objective = None if plan.objective == LATENCY else str(plan.objective)
        context = plan.space.context
        self.study_id = store.open_study(
            context.machine, plan.workload, plan.budget, plan.space.choices, objective
        )

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, *raised: object) -> None:
        self._forget_compiled()

    def _forget_compiled(self, name: str = "") -> None:
        shutil.rmtree(self.plan.compiled / name, ignore_errors=True)

    def search(self) -> Iterator[Trial]:
        """Yield the trials of earlier runs and then each new one, the baseline first."""
        known = self.remembered()
        if not any(trial.config == {} for trial in known):
            known.insert(0, self.measure({}, "baseline"))
        check_baseline(known[0])
        yield from known
        # Optuna takes a second to import: only a run pays for it.
        from tuner.search.optuna.study import Study

        plan = self.plan
        study = Study(plan.space, plan.budget, plan.workload.seed, plan.objective)
        for trial in known:
            study.learn(trial)
        while self.goes_on():
            config = study.propose()
            if config is None:
                return
            if self._drift_is_due():
                self.measure({}, "drift")
            trial = self.measure(config)
            study.learn(trial)
            yield trial

    def known(self) -> list[Trial]:
        """Every trial of this machine, these versions and this workload, whatever its purpose."""
        context = self.plan.space.context
        trials = self._store.measured(context.machine, context.workload)
        return [replace(trial, config=changes(trial.config)) for trial in trials]

    def remembered(self) -> list[Trial]:
        """The trials of earlier runs that the search takes over, the baseline first."""
        budget = self.plan.budget
        latest: dict[str, Trial] = {}
        given_up: set[str] = set()
        for trial in self.known():
            config = trial.config
            before = latest.get(repr(config))
            if trial.purpose not in SEARCHED or not trial.counts(budget):
                continue
            if before is not None and before.exceeds(budget):
                continue
            if config == {} and not usable_baseline(trial, self.plan.reference):
                continue
            if config and lost_to_noise(trial) and repr(config) not in given_up:
                # It may have been the neighbour: this run may try once more.
                given_up.add(repr(config))
                continue
            if config == {} or self.plan.space.holds(config):
                latest[repr(config)] = trial
        self._trials = sorted(latest.values(), key=lambda trial: (trial.config != {}, trial.number))
        if self._trials:
            self._progress.remembered(list(self._trials))
        return list(self._trials)

    def goes_on(self) -> bool:
        """Whether another trial of the search is due; races have a rule of their own."""
        limit_s = self.plan.time_limit_s
        if limit_s is not None and time.monotonic() - self._began_s > limit_s:
            return False
        return len(self._trials) < self.plan.trials

    def _drift_is_due(self) -> bool:
        if self._baseline is None:
            return False
        known = self.known()
        last = max(place for place, trial in enumerate(known) if trial.config == {})
        age = datetime.now(timezone.utc) - datetime.fromisoformat(known[last].started_at)
        return len(known) - 1 - last >= DRIFT_TRIALS or age > DRIFT_AGE

    def racing(self, purpose: str, round: int, rounds: int, left: int) -> None:
        """Tell whoever watches where a race is."""
        self._progress.racing(purpose, round, rounds, left)

    def measure(
        self,
        config: Config,
        purpose: str = "search",
        race: str | None = None,
        round: int | None = None,
    ) -> Trial:
        """Measure a config and keep the trial."""
        self._progress.started(len(self._trials) + 1, config)
        searched = purpose in SEARCHED
        # What has run before is not given up: it may be the machine that is slow now.
        deadlines = self._deadlines(config) if searched else Deadlines(self.plan.trial_timeout_s)
        tried = self._run(self._job(config, purpose), deadlines, self._progress.phase)
        trial = self._kept(replace(tried, purpose=purpose, race=race, round=round))
        if searched:
            self._trials.append(trial)
        self._progress.finished(trial)
        return trial

    def measure_in_turns(
        self, configs: Sequence[Config], purpose: str, race: str, round: int
    ) -> Iterator[Trial]:
        """Measure the configs of a round side by side, call by call, and keep the trials."""
        jobs = [self._job(config, purpose) for config in configs]
        deadlines = Deadlines(self.plan.trial_timeout_s)
        without_room = []
        for tried in self._run.interleaved(jobs, deadlines, self._shown()):
            outcome = tried.outcome
            if isinstance(outcome, Failure) and outcome.kind in OUT_OF_MEMORY:
                # That may be the others' doing.
                without_room.append(tried.config)
                continue
            trial = self._kept(replace(tried, purpose=purpose, race=race, round=round))
            self._progress.finished(trial)
            yield trial
        for config in without_room:
            yield self.measure(config, purpose, race, round)

    def _shown(self) -> Callable[[Job, str], None]:
        """Tells whoever watches which trial has its turn, and what it does."""
        shown: Config | None = None

        def told(job: Job, phase: str) -> None:
            nonlocal shown
            if phase == WAITING:
                return
            if shown != job.config:
                shown = job.config
                self._progress.started(len(self._trials) + 1, job.config)
            self._progress.phase(phase)

        return told

    def _kept(self, tried: Trial) -> Trial:
        trial = self._store.add(self.study_id, tried)
        # Of this run alone: another day the machine may be another one under the same name.
        self._pace_s = shorter_s(self._pace_s, best_pace_s([trial]))
        return trial

    def side_by_side(self, held_bytes: Sequence[int]) -> bool:
        """Whether trials that hold so much of the host may live side by side.

        Beside an accelerator they may not: what is read of its memory is that of all processes.
        """
        alone = self.plan.space.context.machine.device != "cpu" or not possible()
        return not alone and len(held_bytes) > 1 and sum(held_bytes) < ROOM * free_host_bytes()

    def _job(self, config: Config, purpose: str) -> Job:
        reference = self.plan.reference
        reference.parent.mkdir(parents=True, exist_ok=True)
        first = purpose in SEARCHED and (config == {} or not reference.exists())
        context = self.plan.space.context
        return Job(
            workload=context.workload,
            folder=context.spec.folder,
            device=context.machine.device,
            config=dict(config),
            cache_dir=str(self.plan.cache_dir),
            reference=None if first else os.fspath(reference),
            output=os.fspath(reference) if first and not makes_another_image(config) else None,
            pictures=os.fspath(self.plan.pictures(config)),
            cap_s=self._cap_s(purpose),
            budget=self.plan.budget,
            compile_cache=self._compile_cache(config, purpose),
            pace_s=self._pace_s,
            lpips=self.plan.lpips,
        )

    def _compile_cache(self, config: Config, purpose: str) -> str | None:
        """A folder of the config's own, which a race finds filled; a search's trial begins cold."""
        # A session's first call is what counts, so none may profit from an earlier one.
        if not self.plan.race_rounds or self.plan.objective.images is not None:
            return None
        name = fingerprint(dict(config)).removeprefix("b2:")
        if purpose in SEARCHED:
            self._forget_compiled(name)
        return os.fspath(self.plan.compiled / name)

    def _cap_s(self, purpose: str) -> float | None:
        if purpose == "drift":
            return 0.0
        winner = best(self._trials, self.plan.budget)
        if winner is None or purpose not in SEARCHED or not self.plan.objective.of_one_call:
            return None
        return CAP * latency_s(winner)

    @property
    def _baseline(self) -> Measurement | None:
        return next((trial.measurement for trial in self._trials if trial.config == {}), None)

    def _deadlines(self, config: Config) -> Deadlines:
        whole = Deadlines(self.plan.trial_timeout_s)
        baseline = self._baseline
        if baseline is None:
            return whole
        workload = self.plan.space.context.workload
        longer = images_in_call(workload, config) / images_in_call(workload, {})
        slowest_s = longer * max(baseline.latency_s, *baseline.seconds["first_call"])
        return replace(whole, call_s=HOPELESS * slowest_s + HOPELESS_SLACK_S)
