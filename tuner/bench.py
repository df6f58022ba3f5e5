"""Measure one config and add the trial to the ledger: its job, its deadlines, its caches."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import inf

from search_space.config import BASELINE, Config, makes_another_image
from search_space.knobs.batch import images_in_call
from search_space.proposal import Proposal
from search_space.trial import (
    INCUMBENT,
    OUT_OF_MEMORY,
    Failure,
    Measurement,
    Purpose,
    Trial,
    check_whole,
)
from storage import Claims, Store
from tuner.measuring.interleaving import WAITING, next_turn, possible
from tuner.measuring.memory.limits import free_host_bytes
from tuner.records.costs import race_s
from tuner.records.job import Job
from tuner.records.objective import LATENCY, best, latency_s
from tuner.records.plan import Plan
from tuner.records.progress import Progress
from tuner.records.request import MINIMUM_ROUNDS
from tuner.records.rules import REACH
from tuner.runners.base import Deadlines, Runner
from tuner.runners.compile_cache import CompileCache

CAP = 1.5
"""Early stopping: a steady call slower than this many times the best so far ends a trial. A search
trial is off by up to 1.15 (see ``REACH``), so what is cut short could not have won."""

HOPELESS = 2.0
"""Early stopping: a call longer than this many times the baseline's, with nothing to compile, is
not waited for; one that makes more images may take as many times longer."""

HOPELESS_SLACK_S = 5.0
"""Granted on top, so that a small pipeline on a busy machine is not given up too soon."""

PATIENCE_S = 600.0
"""What a baseline and the trials of a race have at least: without the one there is no run, and the
others have run before, so it is the machine that is slow."""

ROOM = 0.8
"""Trials live side by side where they need no more than this share of the host's free memory: the
rest is for what calls need beyond the highest that a trial has held before."""


class OutOfTime(Exception):
    """The time of the run was over before a trial was: it says nothing of its config."""


class Bench:
    """Measures configs for one study; a context manager.

    ``trials`` are those that the search learns from, reused or new, by which deadlines are set.
    """

    def __init__(self, plan: Plan, store: Store, run: Runner, progress: Progress) -> None:
        self.plan = plan
        self.progress = progress
        self.trials: list[Trial] = []
        self.ends_s: float | None = None
        """When search and race shall be over, by the monotonic clock; None without a limit."""
        self.known: list[Trial] = []
        """The history as it was last read, and the trials since; also one that was not stored."""
        self.store = store
        self._run = run
        self._incumbent: Trial | None = None
        self.claims = Claims(store)
        self._compiled = CompileCache(plan.compiled)
        objective = None if plan.objective == LATENCY else str(plan.objective)
        context = plan.space.context
        self.study_id = store.open_study(
            context.machine, plan.workload, plan.budget, plan.space.choices, objective
        )

    def __enter__(self) -> Bench:
        self._compiled.__enter__()
        self.claims.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self.claims.__exit__()
        self._compiled.__exit__()

    @property
    def baseline(self) -> Measurement | None:
        """The baseline's measurement, if it was reached and ran."""
        return next((trial.measurement for trial in self.trials if trial.config.is_baseline), None)

    def history(self) -> list[Trial]:
        """Every trial of this machine, these versions and this workload, whatever its purpose."""
        context = self.plan.space.context
        trials = self.store.of_workload(context.machine, context.workload)
        self.known = [check_whole(trial) for trial in trials]
        return list(self.known)

    def measure(
        self,
        config: Config,
        purpose: Purpose = Purpose.SEARCH,
        race: str | None = None,
        round: int | None = None,
        proposal: Proposal | None = None,
    ) -> Trial:
        """Measure a config and keep the trial."""
        self.progress.started(len(self.trials) + 1, config)
        # What has run before is not given up: it may be the machine that is slow now.
        patient = Deadlines(max(PATIENCE_S, self.plan.trial_timeout_s))
        deadlines = self._deadlines(config) if purpose is Purpose.SEARCH else patient
        left_s = self.left_for_search_s if purpose is Purpose.SEARCH else inf
        if left_s < deadlines.trial_s:
            deadlines = replace(deadlines, trial_s=max(0.0, left_s))
        job = self._job(config, purpose)
        began_s = time.monotonic()
        trial = self._run(job, deadlines, self.progress.phase)
        if job.beside is not None and self._ran_out_beside(trial):
            job = replace(job, beside=None, beside_s=None)
            trial = self._run(job, deadlines, self.progress.phase)
        if trial.measurement is None and time.monotonic() - began_s > left_s:
            raise OutOfTime
        trial = replace(trial, incumbent=self._number_of_incumbent(trial))
        trial = replace(trial, purpose=purpose, race=race, round=round, proposal=proposal)
        trial = self._keep(trial)
        if purpose.is_searched:
            self._incumbent = self._next_incumbent(trial, job)
        self.progress.finished(trial)
        return trial

    def measure_interleaved(
        self, configs: Sequence[Config], purpose: Purpose, race: str, round: int
    ) -> Iterator[Trial]:
        """Measure the configs of a round with interleaved calls, and keep the trials."""
        jobs = [self._job(config, purpose) for config in configs]
        deadlines = Deadlines(max(PATIENCE_S, self.plan.trial_timeout_s))
        without_room = []
        first_turn = next_turn(self.history(), race, round)
        for trial in self._run.interleaved(jobs, deadlines, self._show_phase(), first_turn):
            outcome = trial.outcome
            if isinstance(outcome, Failure) and outcome.kind in OUT_OF_MEMORY:
                # That may be the others' doing.
                without_room.append(trial.config)
                continue
            trial = self._keep(replace(trial, purpose=purpose, race=race, round=round))
            self.progress.finished(trial)
            yield trial
        for config in without_room:
            yield self.measure(config, purpose, race, round)

    def side_by_side(self, held_bytes: Sequence[int]) -> bool:
        """Whether trials that hold so much of the host may live side by side.

        Beside an accelerator they may not: what is read of its memory is that of all processes.
        """
        alone = self.plan.space.context.machine.device != "cpu" or not possible()
        return not alone and len(held_bytes) > 1 and sum(held_bytes) < ROOM * free_host_bytes()

    @property
    def left_s(self) -> float:
        """The seconds that are left to search and race together."""
        return inf if self.ends_s is None else self.ends_s - time.monotonic()

    @property
    def left_for_search_s(self) -> float:
        """The seconds that are left to the search: the shortest race of its best has its share."""
        rounds = min(MINIMUM_ROUNDS, self.plan.race_rounds)
        return self.left_s - race_s(self.trials, rounds, self.plan.objective)

    def _stays(self, purpose: Purpose) -> bool:
        """Whether a trial's process may stay alive beside the next one's."""
        if not purpose.is_searched or self.plan.objective.name == "memory":
            return False
        measurements = [trial.measurement for trial in self.trials]
        held_bytes = [each.host_peak_bytes for each in measurements if each is not None]
        # What the incumbent holds is not free any more.
        return self.side_by_side([max(held_bytes, default=0), 0])

    def _next_incumbent(self, trial: Trial, job: Job) -> Trial | None:
        """The trial whose process the next one's calls are interleaved with, if any."""
        incumbent = self._incumbent
        if trial.measurement is None or not job.stays:
            # Without room both processes are ended; a failed one has ended by itself.
            return incumbent if job.stays else None
        if trial.incumbent is None and incumbent is not None:
            incumbent = None
        fastest = best(self.trials, self.plan.budget)
        if fastest is not None and latency_s(trial) > CAP * latency_s(fastest):
            return incumbent
        call_s = trial.measurement.call_s
        return trial if incumbent is None or call_s < _call_s(incumbent) else incumbent

    def _number_of_incumbent(self, trial: Trial) -> int | None:
        """The number of the incumbent's trial, if it has made calls beside those of this one."""
        measurement = trial.measurement
        is_beside = measurement is not None and INCUMBENT in measurement.seconds
        return self._incumbent.number if is_beside and self._incumbent is not None else None

    def _ran_out_beside(self, trial: Trial) -> bool:
        """Whether a trial ran out of memory, and that may be the incumbent's doing."""
        failure = trial.outcome
        limit_bytes = self.plan.budget.on_host(self.plan.space.context.machine.device)
        if isinstance(failure, Measurement) or failure.kind not in OUT_OF_MEMORY:
            return False
        return limit_bytes is None or (failure.peak_bytes or 0) <= limit_bytes

    def _show_phase(self) -> Callable[[Job, str], None]:
        """A callback that tells ``progress`` which trial computes, and in which phase."""
        config_shown: Config | None = None

        def show(job: Job, phase: str) -> None:
            nonlocal config_shown
            if phase == WAITING:
                return
            if config_shown != job.config:
                config_shown = job.config
                self.progress.started(len(self.trials) + 1, job.config)
            self.progress.phase(phase)

        return show

    def _keep(self, trial: Trial) -> Trial:
        trial = replace(trial, study_id=self.study_id, budget=self.plan.budget)
        try:
            trial = self.store.add(self.study_id, trial)
        finally:
            # Also where the store fails or the user interrupts: the result rests on it as well.
            self.known.append(trial)
            if trial.purpose.is_searched:
                self.trials.append(trial)
        return trial

    def _job(self, config: Config, purpose: Purpose) -> Job:
        reference = self.plan.reference
        reference.parent.mkdir(parents=True, exist_ok=True)
        first = purpose.is_searched and (config.is_baseline or not reference.exists())
        context = self.plan.space.context
        stays = self._stays(purpose)
        incumbent = self._incumbent if stays else None
        cap_s = self._cap_s(purpose)
        return Job(
            workload=context.workload,
            folder=context.spec.folder,
            pickled=context.spec.pickled,
            device=context.machine.device,
            config=config,
            cache_dir=str(self.plan.cache_dir),
            reference=None if first else os.fspath(reference),
            output=os.fspath(reference) if first and not makes_another_image(config) else None,
            pictures=os.fspath(self.plan.pictures(config)),
            precise=not purpose.is_searched and purpose is not Purpose.DRIFT,
            cap_s=cap_s,
            reach_s=None if cap_s is None else REACH / CAP * cap_s,
            beside=None if incumbent is None else incumbent.config,
            beside_s=None if incumbent is None else _call_s(incumbent),
            stays=stays,
            budget=self.plan.budget,
            compile_cache=self._compile_cache(config, purpose),
            lpips=self.plan.lpips,
        )

    def _compile_cache(self, config: Config, purpose: Purpose) -> str | None:
        # A session's first call is what counts, so none may profit from an earlier one.
        if not self.plan.race_rounds or self.plan.objective.images is not None:
            return None
        # A race finds the folder filled; a search's trial begins cold.
        if purpose.is_searched:
            self._compiled.forget(config.key)
        return os.fspath(self._compiled.folder(config.key))

    def _cap_s(self, purpose: Purpose) -> float | None:
        if purpose is Purpose.DRIFT:
            return 0.0
        winner = best(self.trials, self.plan.budget)
        if winner is None or not purpose.is_searched or not self.plan.objective.of_one_call:
            return None
        return CAP * latency_s(winner)

    def _deadlines(self, config: Config) -> Deadlines:
        deadlines = Deadlines(self.plan.trial_timeout_s)
        baseline = self.baseline
        if baseline is None:
            return deadlines
        workload = self.plan.space.context.workload
        image_ratio = images_in_call(workload, config) / images_in_call(workload, BASELINE)
        slowest_s = image_ratio * max(baseline.latency_s, *baseline.seconds["first_call"])
        call_s = HOPELESS * slowest_s + HOPELESS_SLACK_S
        return replace(deadlines, call_s=call_s, others_cores=baseline.others_cores)


def _call_s(trial: Trial) -> float:
    assert trial.measurement is not None
    return trial.measurement.call_s
