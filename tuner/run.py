"""A whole run: from a model's name to an emitted folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from search_space.budget import Budget
from search_space.errors import TuneError
from search_space.trial import FailureKind, Trial
from search_space.units import format_size
from storage import Store
from tuner.deploy.emit import emit
from tuner.measuring.roofline import known_work, reached
from tuner.race.finals import Change, Conclusion, Finals, drift, first_measured, over_budget
from tuner.race.race import entrant
from tuner.records.figures import raced_figures
from tuner.records.objective import (
    SEARCHED,
    best,
    break_even_images,
    front,
    smallest,
)
from tuner.records.plan import Plan
from tuner.records.progress import Progress
from tuner.records.tuned import TunedConfig
from tuner.report.contact_sheet import contact_sheet
from tuner.report.format import describe, limits
from tuner.runners.base import Runner
from tuner.search.loop import Loop


@dataclass
class Run:
    """The trials of a run as they come, and what is made of them at the end."""

    plan: Plan
    trials: list[Trial] = field(default_factory=list)
    interrupted: bool = False
    conclusion: Conclusion | None = None
    known: list[Trial] = field(default_factory=list)

    def go(self, store: Store, run: Runner, progress: Progress) -> None:
        """Collect trials until the plan is done or the user interrupts, then race the best."""
        with Loop(self.plan, store, run, progress) as loop:
            try:
                for trial in loop.search():
                    self.trials.append(trial)
                for conclusion in Finals(loop, self.trials).conclude():
                    self.conclusion = conclusion
            except KeyboardInterrupt:
                self.interrupted = True
            self.known = loop.known()

    @property
    def baseline(self) -> Trial | None:
        """The baseline's trial, if it was reached."""
        return next((trial for trial in self.trials if trial.config == {}), None)

    def candidates(self) -> list[Trial]:
        """The trials that keep the pins: with pins the baseline may not be one."""
        return [trial for trial in self.trials if self.plan.space.holds(trial.config)]

    def tuned(self) -> TunedConfig:
        """The winner; raises TuneError where nothing fits the budget or nothing ran."""
        winner, raced = self._winner()
        context = self.plan.space.context
        baseline = self.baseline
        speedup = self.conclusion.speedup if self.conclusion else None
        return TunedConfig(
            config=dict(winner.config),
            folder=context.spec.folder,
            workload=context.workload,
            machine=context.machine,
            tuned=self._figures(winner, raced),
            baseline=self._figures(baseline, raced) if baseline else None,
            memory_bytes=self.plan.budget.memory_bytes,
            host_memory_bytes=self.plan.budget.host_bytes,
            cache_dir=str(self.plan.cache_dir),
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            speedup=speedup.ratio if speedup else None,
            speedup_low=speedup.low if speedup else None,
            speedup_high=speedup.high if speedup else None,
            objective=str(self.plan.objective),
            break_even_images=self._break_even_images(winner),
            drift=drift(self.known),
            changes=tuple(map(change_json, self.conclusion.changes)) if self.conclusion else (),
        )

    def _break_even_images(self, winner: Trial) -> int | None:
        baseline = self.baseline.measurement if self.baseline else None
        if not winner.config or winner.measurement is None or baseline is None:
            return None
        workload = self.plan.space.context.workload
        return break_even_images(winner.measurement, baseline, workload, winner.config)

    def _figures(self, trial: Trial, raced: Sequence[Trial]) -> dict[str, Any]:
        """The figures of a trial, from its config's trials in the race where there were any."""
        known = raced_figures(trial, [one for one in raced if one.config == trial.config])
        return {**known, **reached(known_work(self.trials), known["latency_s"])}

    def _winner(self) -> tuple[Trial, Sequence[Trial]]:
        """A trial of the winner, the first, and the trials of the race that it won."""
        if self.conclusion is not None:
            of_winner = first_measured(self.known)[entrant(self.conclusion.winner)]
            return of_winner, self.conclusion.trials
        baseline = self.baseline.measurement if self.baseline else None
        plan = self.plan
        over = over_budget(plan.budget, self.known)
        fit = [trial for trial in self.candidates() if entrant(trial.config) not in over]
        fastest = best(fit, plan.budget, plan.objective, baseline)
        if fastest is None:
            raise TuneError(self._nothing_fits())
        return fastest, ()

    def emit(self, output: Path) -> tuple[TunedConfig, Path]:
        """The winner, written to the output folder."""
        tuned = self.tuned()
        sheet = contact_sheet(tuned, self.plan.reference, self.plan.pictures(tuned.config))
        self.forget_pictures()
        return tuned, emit(tuned, output, sheet)

    @property
    def reference(self) -> Trial | None:
        """The trial whose output stands in for the baseline's, if that did not fit."""
        if self.baseline is None or self.baseline.measurement is not None:
            return None
        for trial in self.trials:
            measured = trial.measurement
            if measured and "floor_psnr_db" in measured.fidelity and not measured.compared:
                return trial
        return None

    def forget_pictures(self) -> None:
        """Keep those of the trials that could win under another budget or without the pins."""
        unlimited = Budget(quality=self.plan.budget.quality)
        searched = [trial for trial in self.known if trial.purpose in SEARCHED]
        able = [trial for trial in searched if trial.judged(unlimited) is None]
        # With pins, and without any: the next run may have none.
        mine = [trial for trial in able if self.plan.space.holds(trial.config)]
        fronts = (*front(able), *front(mine))
        kept = {os.fspath(self.plan.pictures(trial.config)) for trial in fronts}
        for path in self.plan.reference.with_suffix("").glob("*.npz"):
            if os.fspath(path) not in kept:
                path.unlink(missing_ok=True)

    def _nothing_fits(self) -> str:
        budget = self.plan.budget
        for trial in self.candidates():
            failure = trial.judged(budget)
            if failure is not None and failure.kind is FailureKind.TOO_FAR:
                return (
                    f"nothing keeps the image: of {describe(trial.config)} {failure.message}; "
                    "give a later --quality or other pins"
                )
        least = smallest(self.candidates())
        if least is None or least.measurement is None or not budget.limits_memory:
            return "no config ran: see 'tune trials' for the reasons"
        needed = format_size(least.measurement.peak_bytes)
        if budget.host_bytes is not None:
            needed += f", on the host {format_size(least.measurement.host_peak_bytes)}"
        asked = {"--memory": budget.memory_bytes, "--host-memory": budget.host_bytes}
        options = " or ".join(option for option, limit in asked.items() if limit is not None)
        return (
            f"nothing fits {limits(budget)}: the smallest config found needs {needed} "
            f"({describe(least.config)}); raise {options}, lower the size or the batch"
        )


def change_json(change: Change) -> dict[str, Any]:
    """The stable form of what a change brings."""
    gain = change.gain
    return {
        "knob": change.knob,
        "choice": change.choice,
        "speedup": gain.ratio if gain else None,
        "low": gain.low if gain else None,
        "high": gain.high if gain else None,
        "kept": change.kept,
        "note": change.note or None,
        "disturbed": change.disturbed,
    }
