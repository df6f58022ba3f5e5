"""A whole run: from a request to a tuned config."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Unpack

from search_space.budget import Budget
from search_space.config import Config
from search_space.errors import StoreError, TuneError, UsageError
from search_space.trial import Trial
from storage import PATIENCE_S, Store, default_url
from tuner.bench import Bench
from tuner.deploy.emit import check_output, default_output, emit
from tuner.discovery.context import discover
from tuner.discovery.free_memory import within_free_memory
from tuner.discovery.models import check_name
from tuner.measuring.roofline import reached, work_of_trials
from tuner.processes.children import Children
from tuner.race.ablation import Change
from tuner.race.decision import Decision, decide
from tuner.race.finalists import drift
from tuner.race.finals import Finals
from tuner.records.costs import paid_back_images, spent_s
from tuner.records.figures import raced_figures
from tuner.records.objective import break_even_images, front
from tuner.records.plan import Plan, plan_run
from tuner.records.progress import Ending, Progress, Reuse
from tuner.records.request import Options, request_of
from tuner.records.tuned import TunedConfig
from tuner.report.contact_sheet import contact_sheet
from tuner.report.ending import nothing_fits, nothing_tried
from tuner.report.notes import notes
from tuner.report.progress import watching
from tuner.result import Result
from tuner.runners.base import Runner
from tuner.runners.local import LocalRunner
from tuner.search.loop import Search

OnTrial = Callable[[Trial], None]
WAITS_FOR_RACE = "Another run races the best: waiting for its race."


def tune(
    model: str,
    *,
    output: str | Path | None = None,
    store: str | None = None,
    progress: bool | Progress = True,
    on_trial: OnTrial | None = None,
    **options: Unpack[Options],
) -> Result:
    """Find the fastest config of a model within the memory budget, and write its loader.

    ``model`` is a Hub id, a diffusers folder or ``reference:NAME``; the options are those of
    ``tune run``. ``on_trial`` is called with each trial of the search, those of earlier runs
    included. On a terminal a bar shows the progress, unless ``progress`` is False. What was
    measured in ``store`` before is not measured again. An interrupt ends the run: what was found
    until then is written and returned.

    Raises UsageError where something asked for cannot be done, and TuneError where no config can
    be written.
    """
    # Before anything is started: a slip of the pen shall not cost the seconds of an import.
    check_name(model)
    request = request_of(model, **options)
    folder = None if output is None else Path(output).expanduser()
    if folder is not None:
        check_output(folder)
    url = store or default_url()
    with Store(url, patience_s=PATIENCE_S) as ledger, Children() as children:
        context = discover(children, request)
        budget, whence = within_free_memory(children, context.machine, request.budget)
        plan = plan_run(context, replace(request, budget=budget))
        if folder is None:
            folder = default_output(plan.space.context)
            check_output(folder)
        run = Run(plan, on_trial, [*notes(plan, ledger), *([whence] if whence else [])])
        with watching(progress) as watcher, LocalRunner(children) as runner:
            run.go(ledger, runner, watcher)
    return run.result(folder)


class NothingFound(TuneError):
    """A run that has no config to write; what it has measured is in the store."""

    def __init__(self, message: str, run: Run) -> None:
        super().__init__(message)
        self.run = run


class NotWritten(TuneError):
    """A result whose folder could not be written, such as on a full disk."""

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)
        self.result = result


class Run:
    """The trials of a run as they come, and what is made of them at the end."""

    def __init__(
        self, plan: Plan, on_trial: OnTrial | None = None, notes: Sequence[str] = ()
    ) -> None:
        self.plan = plan
        self.trials: list[Trial] = []
        self.history: list[Trial] = []
        self.changes: tuple[Change, ...] = ()
        self.reuse = Reuse()
        self.ending = Ending.INTERRUPTED
        self.interrupted = False
        self.store_error: StoreError | None = None
        """What the store said where it failed for good: the run has ended there."""
        self.study_id = 0
        self._on_trial = on_trial or (lambda trial: None)
        self._notes = notes

    def go(self, store: Store, run: Runner, progress: Progress) -> None:
        """Collect trials and race the best, until that is done, interrupted or cannot be stored.

        What is known then is kept here, also what the store has not taken.
        """
        with Bench(self.plan, store, run, progress) as bench:
            self.study_id = bench.study_id
            finals: Finals | None = None
            race = f"race of study {self.study_id}"
            try:
                search = Search(bench)
                self.reuse = search.reuse
                progress.planned(self.plan, search.reuse, self._notes)
                for trial in search.run():
                    self.reuse = search.reuse
                    self.trials.append(trial)
                    self._on_trial(trial)
                self.ending = search.ending
                progress.searched(search.ending)
                # Of two runs of this study the second finds the race of the first.
                with bench.claims.in_turn(race, partial(progress.waiting, WAITS_FOR_RACE)):
                    finals = Finals(bench, self.trials)
                    finals.run()
                bench.history()
            except KeyboardInterrupt:
                self.interrupted = True
            except StoreError as error:
                self.store_error = error
                if self.ending is Ending.INTERRUPTED:
                    self.ending = Ending.STORE
            # The last trial may have been kept and not returned.
            self.trials = list(bench.trials)
            self.changes = finals.changes if finals else ()
            self.history = list(bench.known)

    @property
    def baseline(self) -> Trial | None:
        """The baseline's trial, if it was reached."""
        return next((trial for trial in self.trials if trial.config.is_baseline), None)

    def decision(self) -> Decision:
        """Who won, decided from the ledger as everywhere; raises NothingFound."""
        if reason := nothing_tried(self.plan, self.trials, self.ending):
            raise NothingFound(reason, self)
        decision = decide(self.plan.rules, self.study_id, self.history)
        if decision is None:
            raise NothingFound(nothing_fits(self.plan, self.candidates()), self)
        return decision

    def tuned(self) -> TunedConfig:
        """The winner with its evidence; raises NothingFound."""
        return self._tuned(self.decision())

    def result(self, folder: Path) -> Result:
        """The winner, written to the folder; raises NothingFound where there is none to write."""
        decision = self.decision()
        tuned = self._tuned(decision)
        sheet = contact_sheet(tuned, self.plan.reference, self.plan.pictures(tuned.config))
        self.forget_pictures()
        result = Result(
            tuned,
            folder,
            tuple(self.trials),
            tuple(self._raced()),
            len(self.reuse.trials),
            self.ending,
            decision.reason,
            self.stand_in,
            self.interrupted,
            None if self.store_error is None else str(self.store_error),
        )
        try:
            return replace(result, folder=emit(tuned, folder, sheet))
        except UsageError as error:
            raise NotWritten(str(error), result) from error

    def _raced(self) -> Iterator[Trial]:
        for trial in self.history:
            if trial.study_id == self.study_id and trial.race is not None:
                yield trial

    def candidates(self) -> list[Trial]:
        """The trials that keep the pins: with pins the baseline may not be one."""
        return [trial for trial in self.trials if self.plan.space.holds(trial.config)]

    def _tuned(self, decision: Decision) -> TunedConfig:
        context, budget, baseline = self.plan.space.context, self.plan.budget, self.baseline
        speedup, tuning_s = decision.speedup, spent_s(self._paid())
        tuned_figures = self._figures(decision.trial, decision.race_trials)
        baseline_figures = self._figures(baseline, decision.race_trials) if baseline else None
        return TunedConfig(
            config=decision.config,
            folder=context.spec.folder,
            workload=context.workload,
            machine=context.machine,
            tuned=tuned_figures,
            baseline=baseline_figures,
            memory_bytes=budget.memory_bytes,
            host_memory_bytes=budget.host_bytes,
            cache_dir=str(self.plan.cache_dir),
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            speedup=speedup.ratio if speedup else None,
            speedup_low=speedup.low if speedup else None,
            speedup_high=speedup.high if speedup else None,
            objective=str(self.plan.objective),
            break_even_images=self._break_even_images(decision.trial),
            drift=drift(self.history),
            changes=tuple(change.to_json() for change in self._changes_of(decision.config)),
            tuning_s=tuning_s,
            paid_back_images=self._paid_back_images(decision, tuning_s),
            spoiled=decision.spoiled,
            pickled=context.spec.pickled,
        )

    def _paid(self) -> Iterable[Trial]:
        """The trials that the result rests on: of this study, and those that it reuses."""
        study = (trial for trial in self.history if trial.study_id == self.study_id)
        return {trial.number: trial for trial in (*self.trials, *study)}.values()

    def _paid_back_images(self, decision: Decision, tuning_s: Mapping[str, float]) -> int | None:
        winner = decision.trial.measurement
        baseline = self.baseline.measurement if self.baseline else None
        if decision.speedup is None or winner is None or baseline is None:
            return None
        # Of the race, as the speed-up is; by the images that a latency counts.
        tuned_latency_s = baseline.latency_s / decision.speedup.ratio
        tuned_image_s = tuned_latency_s * winner.image_s / winner.latency_s
        return paid_back_images(tuning_s, tuned_image_s, baseline.image_s)

    def _changes_of(self, winner: Config) -> tuple[Change, ...]:
        # An interrupted ablation may speak of a winner that another race has replaced.
        return () if winner.is_baseline else self.changes

    def _break_even_images(self, winner: Trial) -> int | None:
        baseline = self.baseline.measurement if self.baseline else None
        if winner.config.is_baseline or winner.measurement is None or baseline is None:
            return None
        return break_even_images(winner.measurement, baseline)

    def _figures(self, trial: Trial, race_trials: Sequence[Trial]) -> dict[str, Any]:
        """The figures of a trial, from its config's trials in the race where there were any."""
        own_trials = [raced for raced in race_trials if raced.config == trial.config]
        figures = raced_figures(trial, own_trials)
        return {**figures, **reached(work_of_trials(self.trials), figures["latency_s"])}

    @property
    def stand_in(self) -> Trial | None:
        """The trial whose output stands in for the baseline's, if that did not fit."""
        if self.baseline is None or self.baseline.measurement is not None:
            return None
        for trial in self.trials:
            measurement = trial.measurement
            if measurement and "floor_psnr_db" in measurement.fidelity and not measurement.compared:
                return trial
        return None

    def forget_pictures(self) -> None:
        """Keep those of the trials that could win under another budget or without the pins."""
        unlimited = Budget(quality=self.plan.budget.quality)
        searched = [trial for trial in self.history if trial.purpose.is_searched]
        able = [trial for trial in searched if trial.judged(unlimited) is None]
        # With pins, and without any: the next run may have none.
        within_pins = [trial for trial in able if self.plan.space.holds(trial.config)]
        fronts = (*front(able), *front(within_pins))
        paths_to_keep = {self.plan.pictures(trial.config) for trial in fronts}
        known_paths = {self.plan.pictures(trial.config) for trial in self.history}
        for path in self.plan.reference.with_suffix("").glob("*.npz"):
            # What is not known here may be of a trial that another run has not stored yet; and
            # another that ends now may be first.
            with suppress(FileNotFoundError):
                age_s = inf if path in known_paths else time.time() - path.stat().st_mtime
                if path not in paths_to_keep and age_s > self.plan.trial_timeout_s:
                    path.unlink()
