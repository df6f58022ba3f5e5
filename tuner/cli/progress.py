"""The run as it is watched: on stderr, live on a terminal, a line a trial elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from search_space.budget import Budget
from search_space.trial import Config, Measurement, Trial
from search_space.units import format_duration
from tuner.records.figures import figures
from tuner.records.objective import LATENCY, SEARCHED, Objective, best, latency_s
from tuner.report.format import decibel, describe, latency, seconds, size, times

if TYPE_CHECKING:
    from rich.console import Console


class ConsoleProgress:
    """Shows the trial at work, what has been found and the time left; a context manager."""

    def __init__(
        self,
        console: Console,
        trials: int,
        budget: Budget,
        time_limit_s: float | None,
        objective: Objective = LATENCY,
    ) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._console = console
        self._budget = budget
        self._objective = objective
        self._total = trials
        self._ends_s = None if time_limit_s is None else time.monotonic() + time_limit_s
        self._trials: list[Trial] = []
        self._costs_s: dict[str, list[float]] = {"search": []}
        self._purpose = "search"
        self._due = 0
        self._stage = ""
        self._config: Config = {}
        self._began_s = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[best]}"),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            # More often would take the time of a core from the trial that is watched.
            refresh_per_second=2,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=trials, best="", left="")

    def __enter__(self) -> ConsoleProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def remembered(self, trials: list[Trial]) -> None:
        """Say which trials are taken over, and how they did."""
        self._trials.extend(trials)
        self._bar.update(self._task, completed=len(self._trials))
        measured = "1 trial was" if len(trials) == 1 else f"{len(trials)} trials were"
        self._console.print(f"{measured} measured before and will not be measured again")
        winner = self._winner()
        if winner is not None:
            self._console.print(f"best so far: {describe(winner.config)}", highlight=False)

    def racing(self, purpose: str, round: int, rounds: int, left: int) -> None:
        """Show the round, and how far the race is."""
        if self._purpose == "search" and len(self._trials) < self._total and self._is_late():
            so_far = f"{len(self._trials)} of {self._total} trials"
            self._console.print(f"The time limit ended the search after {so_far}.", highlight=False)
        self._purpose, self._due = purpose, left
        self._stage = f"{purpose}, round {round} of {max(round, rounds)} · "
        done = len(self._costs_s.setdefault(purpose, []))
        self._bar.update(self._task, completed=done, total=done + left)

    def started(self, position: int, config: Config) -> None:
        """Show the trial that begins."""
        self._config = config
        self._began_s = time.monotonic()
        self.phase("start")

    def phase(self, name: str) -> None:
        """Show the phase and the time left."""
        self._bar.update(
            self._task,
            description=f"{self._stage}{describe(self._config)} · {name}",
            best=self._best(),
            left=self._left(),
        )

    def finished(self, trial: Trial) -> None:
        """Print the trial's line."""
        if trial.purpose in SEARCHED:
            self._trials.append(trial)
        self._costs_s[self._purpose].append(trial.cost_s)
        self._bar.update(self._task, completed=self._done(), best=self._best())
        self._console.print(self._line(trial), highlight=False, soft_wrap=True)

    def _is_late(self) -> bool:
        return self._ends_s is not None and time.monotonic() > self._ends_s

    def _done(self) -> int:
        return len(self._costs_s[self._purpose]) if self._stage else len(self._trials)

    def _line(self, trial: Trial) -> str:
        known = figures(trial)
        failure = trial.judged(self._budget)
        memory = size(known["peak_bytes"])
        tier = f" ({known['tier']})" if known["tier"] else ""
        if self._budget.memory_bytes is not None:
            memory += f" of {size(self._budget.memory_bytes)}"
        parts = [
            f"[{self._place(trial)}] {describe(trial.config)}:",
            f"{latency(known)} ({times(self._speedup(trial))}),",
            f"{memory}, PSNR {decibel(known['psnr_db'])}{tier},",
            f"took {format_duration(trial.cost_s)}",
        ]
        if failure is not None:
            reason = f"{failure.kind.value}: {failure.message}"
            parts[1:] = [f"{reason}, took {format_duration(trial.cost_s)}"]
        return " ".join(parts).replace("[", "\\[")

    def _place(self, trial: Trial) -> str:
        if trial.purpose in SEARCHED:
            return f"{len(self._trials)}/{self._total}"
        return trial.purpose if trial.round is None else f"{trial.purpose}, round {trial.round}"

    def _speedup(self, trial: Trial) -> float | None:
        baseline = self._baseline()
        if baseline is None or trial.measurement is None:
            return None
        return baseline.latency_s / latency_s(trial)

    def _baseline(self) -> Measurement | None:
        return next((known.measurement for known in self._trials if not known.config), None)

    def _winner(self) -> Trial | None:
        return best(self._trials, self._budget, self._objective, self._baseline())

    def _best(self) -> str:
        winner = self._winner()
        if winner is None:
            return ""
        return f"best {seconds(latency_s(winner))} ({times(self._speedup(winner))})"

    def _left(self) -> str:
        """From the mean cost of the trials so far; a search ends with its time limit."""
        costs_s = self._costs_s[self._purpose] or self._costs_s["search"]
        costs_s = costs_s or [trial.cost_s for trial in self._trials]
        if not costs_s:
            return ""
        due = self._due if self._stage else max(0, self._total - len(self._trials))
        left_s = sum(costs_s) / len(costs_s) * due
        if self._ends_s is not None and not self._stage:
            left_s = min(left_s, max(0.0, self._ends_s - time.monotonic()))
        return f"about {format_duration(left_s)} left"
