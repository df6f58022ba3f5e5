"""The loop: propose, measure, keep, learn."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from search_space.budget import Budget
from search_space.errors import ModelError, TuneError
from search_space.identity import fingerprint
from search_space.space import Space, changes, makes_another_image
from search_space.trial import OUT_OF_MEMORY, Config, Failure, FailureKind, Measurement, Trial
from search_space.workload import Workload
from storage import Store
from tuner.runner import Deadlines
from tuner.worker import Job

CAP = 1.5
"""A steady call slower than this many times the best so far ends a trial."""

HOPELESS = 2.0
"""A call longer than this many times the baseline's, with nothing to compile, is not waited for."""

HOPELESS_SLACK_S = 5.0
"""Granted on top, so that a small pipeline on a busy machine is not given up too soon."""


@dataclass(frozen=True)
class Plan:
    """What a run is asked to do; ``trials`` counts those of earlier runs that it takes over."""

    space: Space
    memory: Budget
    trials: int
    time_limit_s: float | None
    trial_timeout_s: float
    cache_dir: Path

    @property
    def workload(self) -> Workload:
        """What is generated."""
        return self.space.context.workload

    @property
    def budget(self) -> Budget:
        """The budgets of memory, and the quality that the space keeps to."""
        return replace(self.memory, quality=self.space.context.quality)

    @property
    def reference(self) -> Path:
        """Where the output lies that every trial is compared with."""
        machine = self.space.context.machine
        parts = [machine.fingerprint, machine.software_fingerprint, self.workload.fingerprint]
        name = fingerprint(parts).removeprefix("b2:")
        return self.cache_dir / "baselines" / f"{name}.npz"

    def pictures(self, config: Config) -> Path:
        """Where a few images of a config lie, for the contact sheet."""
        name = fingerprint(changes(config)).removeprefix("b2:")
        return self.reference.with_suffix("") / f"{name}.npz"


class Progress(Protocol):
    """Told what the loop does, for whoever watches."""

    def remembered(self, trials: list[Trial]) -> None:
        """Trials of earlier runs are taken over."""

    def started(self, position: int, config: Config) -> None:
        """A trial begins, the ``position``-th of the run, counted from 1."""

    def phase(self, name: str) -> None:
        """The trial enters a phase."""

    def finished(self, trial: Trial) -> None:
        """The trial is in the ledger."""


Runner = Callable[[Job, Deadlines, Callable[[str], None]], Trial]
"""Runs one job within deadlines, telling its phases: a process of its own, or a simulation."""


def tune(plan: Plan, store: Store, run: Runner, progress: Progress) -> Iterator[Trial]:
    """Yield the trials of earlier runs and then each new one once it is in the ledger.

    The first is the baseline. Raises ModelError where the baseline does not load and TuneError
    where it fails otherwise than for want of memory.
    """
    loop = _Loop(plan, store, run, progress)
    known = loop.remembered()
    if not any(trial.config == {} for trial in known):
        known.insert(0, loop.measure({}))
    check_baseline(known[0])
    yield from known
    # Optuna takes a second to import: only a run pays for it.
    from tuner.study import Study

    study = Study(plan.space, plan.budget, plan.workload.seed)
    for trial in known:
        study.learn(trial)
    while loop.goes_on():
        config = study.propose()
        if config is None:
            return
        trial = loop.measure(config)
        study.learn(trial)
        yield trial


def check_baseline(trial: Trial) -> None:
    """Raise where a failed baseline makes the run pointless; for want of memory it does not."""
    failure = trial.outcome
    if isinstance(failure, Measurement) or failure.kind in OUT_OF_MEMORY:
        return
    error = ModelError if failure.phase == "load" else TuneError
    what = "the model does not load" if failure.phase == "load" else "the baseline fails"
    raise error(f"{what}: {failure.message} (see 'tune show {trial.number}')")


class _Loop:
    """The state of a run: what has been measured, and when it must end."""

    def __init__(self, plan: Plan, store: Store, run: Runner, progress: Progress) -> None:
        self._plan = plan
        self._store = store
        self._run = run
        self._progress = progress
        self._trials: list[Trial] = []
        self._began_s = time.monotonic()
        context = plan.space.context
        self._study_id = store.open_study(
            context.machine, plan.workload, plan.budget, plan.space.choices
        )

    def remembered(self) -> list[Trial]:
        """The trials of earlier runs that count here, the baseline first."""
        context, budget = self._plan.space.context, self._plan.budget
        latest: dict[str, Trial] = {}
        given_up: set[str] = set()
        for trial in self._store.measured(context.machine, context.workload):
            config = changes(trial.config)
            before = latest.get(repr(config))
            if not trial.counts(budget) or (before is not None and before.exceeds(budget)):
                continue
            if config == {} and not usable_baseline(trial, self._plan.reference):
                continue
            if config and lost_to_noise(trial) and repr(config) not in given_up:
                # It may have been the neighbour: this run may try once more.
                given_up.add(repr(config))
                continue
            if config == {} or self._plan.space.holds(config):
                latest[repr(config)] = replace(trial, config=config)
        self._trials = sorted(latest.values(), key=lambda trial: (trial.config != {}, trial.number))
        if self._trials:
            self._progress.remembered(list(self._trials))
        return list(self._trials)

    def goes_on(self) -> bool:
        """Whether another trial is due."""
        limit_s = self._plan.time_limit_s
        if limit_s is not None and time.monotonic() - self._began_s > limit_s:
            return False
        return len(self._trials) < self._plan.trials

    def measure(self, config: Config) -> Trial:
        """Measure a config and keep the trial."""
        self._progress.started(len(self._trials) + 1, config)
        reference = self._plan.reference
        reference.parent.mkdir(parents=True, exist_ok=True)
        first = config == {} or not reference.exists()
        context = self._plan.space.context
        job = Job(
            workload=context.workload,
            folder=context.spec.folder,
            device=context.machine.device,
            config=dict(config),
            cache_dir=str(self._plan.cache_dir),
            reference=None if first else os.fspath(reference),
            output=os.fspath(reference) if first and not makes_another_image(config) else None,
            pictures=os.fspath(self._plan.pictures(config)),
            cap_s=self._cap_s(),
            budget=self._plan.budget,
        )
        tried = self._run(job, self._deadlines(), self._progress.phase)
        purpose = "baseline" if config == {} else "search"
        trial = self._store.add(self._study_id, replace(tried, purpose=purpose))
        self._trials.append(trial)
        self._progress.finished(trial)
        return trial

    def _cap_s(self) -> float | None:
        winner = best(self._trials, self._plan.budget)
        return None if winner is None else CAP * latency_s(winner)

    def _deadlines(self) -> Deadlines:
        whole = Deadlines(self._plan.trial_timeout_s)
        baseline = next((trial.measurement for trial in self._trials if trial.config == {}), None)
        if baseline is None:
            return whole
        slowest_s = max(baseline.latency_s, *baseline.seconds["first_call"])
        return replace(whole, call_s=HOPELESS * slowest_s + HOPELESS_SLACK_S)


def lost_to_noise(trial: Trial) -> bool:
    """Whether a trial was cut short while something else was at work on the machine."""
    outcome = trial.outcome
    if isinstance(outcome, Failure):
        cut_short = outcome.kind is FailureKind.TIMEOUT
    else:
        cut_short = len(outcome.seconds["steady"]) == 1
    return cut_short and outcome.disturbed is not None


def usable_baseline(trial: Trial, reference: Path) -> bool:
    """A baseline is taken over if what trials are compared with is there, or if it never fits."""
    if isinstance(trial.outcome, Failure):
        return trial.outcome.kind in OUT_OF_MEMORY
    return reference.exists()


def latency_s(trial: Trial) -> float:
    """The latency of a measured trial."""
    assert trial.measurement is not None
    return trial.measurement.latency_s


def best(trials: list[Trial], budget: Budget) -> Trial | None:
    """The fastest trial that fits the budget, if any does; all trials of its config must."""
    over = {repr(changes(trial.config)) for trial in trials if trial.exceeds(budget)}
    feasible = [
        trial
        for trial in trials
        if trial.judged(budget) is None and repr(changes(trial.config)) not in over
    ]
    return min(feasible, key=latency_s, default=None)


def front(trials: list[Trial]) -> list[Trial]:
    """Of measured trials those that are the fastest within some budget of memory."""
    kept: list[Trial] = []
    for trial in sorted(trials, key=lambda trial: (latency_s(trial), peak_bytes(trial))):
        if not kept or peak_bytes(trial) < peak_bytes(kept[-1]):
            kept.append(trial)
    return kept


def peak_bytes(trial: Trial) -> int:
    """The peak memory of a measured trial."""
    assert trial.measurement is not None
    return trial.measurement.peak_bytes


def smallest(trials: list[Trial]) -> Trial | None:
    """The measured trial with the lowest peak memory, if any was measured."""
    measured = [trial for trial in trials if trial.measurement is not None]
    return min(measured, key=peak_bytes, default=None)
