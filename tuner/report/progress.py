"""A run as it is watched: lines, and on a terminal a bar."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from search_space.budget import UNLIMITED, Budget
from search_space.config import BASELINE, Config
from search_space.proposal import Proposal
from search_space.space import MOST_COUNTED
from search_space.trial import Measurement, Purpose, Trial
from search_space.units import format_duration
from tuner.records.costs import round_s
from tuner.records.objective import LATENCY, Objective, best, latency_s
from tuner.records.plan import Plan
from tuner.records.progress import Ending, Progress, Reuse
from tuner.records.request import MINIMUM_ROUNDS
from tuner.records.rules import FINALISTS
from tuner.report.format import seconds, times, wrapped
from tuner.report.prediction import prediction_sentence
from tuner.report.trial_line import NARROWEST, PLACE_WIDTH, heading, shortened, trial_line

if TYPE_CHECKING:
    from rich.console import Console

BAR_CONFIG_WIDTH = 30
"""What the bar shows of the config at work: bar, counts, best and time need the other 50."""


class ConsoleProgress(Progress):
    """Prints the plan and a line a trial, and shows a bar on a terminal; a context manager."""

    def __init__(self, console: Console, explain: bool = False) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bar

        self._console = console
        self._explain = explain
        self._is_headed = False
        self._width = console.width if console.is_terminal else NARROWEST
        self._budget: Budget = UNLIMITED
        self._objective: Objective = LATENCY
        self._time_limit_s: float | None = None
        self._ends_s: float | None = None
        self._total = 0
        self._race_trials = 0
        self._trials: list[Trial] = []
        self._costs_s: dict[Purpose, list[float]] = {Purpose.SEARCH: []}
        self._purpose = Purpose.SEARCH
        self._due = 0
        self._stage = ""
        self._config = BASELINE
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=10),
            MofNCompleteColumn(),
            TextColumn("{task.fields[best]}"),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            # More often would take the time of a core from the trial that is watched.
            refresh_per_second=2,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("looking around", total=None, best="", left="")

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

    def planned(self, plan: Plan, reuse: Reuse, notes: Sequence[str]) -> None:
        """Say what there is to try, what comes after, and what is known already."""
        self._budget, self._objective = plan.budget, plan.objective
        self._time_limit_s, self._total = plan.time_limit_s, plan.trials
        self._race_trials = min(MINIMUM_ROUNDS, plan.race_rounds) * (FINALISTS + 1)
        for note in notes:
            self._tell(note)
        for line in plan_lines(plan):
            self._say(line)
        if reuse.repeated:
            repeated = "1 trial that was" if reuse.repeated == 1 else f"{reuse.repeated} that were"
            self._tell(f"Tried once more: {repeated} cut short while the machine was disturbed.")
        self._bar.update(self._task, total=self._total)
        if reuse.trials:
            self._trials.extend(reuse.trials)
            self._bar.update(self._task, completed=len(self._trials))
            reused = "1 trial" if len(reuse.trials) == 1 else f"{len(reuse.trials)} trials"
            winner = self._winner()
            so_far = f"; best so far: {winner.config.describe()}" if winner else ""
            self._tell(f"Reused from earlier runs: {reused}{so_far}.")
            if reuse.trials[0].config.is_baseline:
                self._baseline_is_known(reuse.trials[0])

    def predicted(self, prediction: Proposal) -> None:
        """Say what is expected before any trial."""
        self._tell(prediction_sentence(prediction))

    def proposed(self, proposal: Proposal) -> None:
        """Say why a config is tried, where that is wanted."""
        if self._explain:
            for line in wrapped(f"why: {proposal.describe()}", self._width - PLACE_WIDTH - 1):
                self._say(f"{'':<{PLACE_WIDTH}} {line}")

    def started(self, position: int, config: Config) -> None:
        """Show the trial that begins."""
        self._config = config
        self.phase("start")

    def phase(self, name: str) -> None:
        """Show the phase and the time left."""
        self._bar.update(
            self._task,
            description=f"{self._stage}{shortened(self._config, BAR_CONFIG_WIDTH)} · {name}",
            best=self._best(),
            left=self._left(),
        )

    def finished(self, trial: Trial) -> None:
        """Print the trial's line."""
        if trial.purpose.is_searched:
            self._trials.append(trial)
        self._costs_s.setdefault(self._purpose, []).append(trial.cost_s)
        self._bar.update(self._task, completed=self._done(), best=self._best())
        speedup = self._speedup(trial)
        if not self._is_headed:
            self._say(heading(self._width))
            self._is_headed = True
        self._say(trial_line(self._place(trial), trial, self._budget, speedup, self._width))
        if trial.purpose is Purpose.BASELINE:
            self._baseline_is_known(trial)

    def shared(self, trial: Trial) -> None:
        """Say what another run has measured."""
        self._trials.append(trial)
        self._bar.update(self._task, completed=self._done(), best=self._best())
        self._tell(f"Reused from another run: {self._place(trial)} {trial.config.describe()}.")
        if trial.config.is_baseline:
            self._baseline_is_known(trial)

    def waiting(self, sentence: str) -> None:
        """Say it."""
        self._tell(sentence)

    def searched(self, ending: Ending) -> None:
        """The time limit no longer counts."""
        self._ends_s = None

    def race_planned(self, purpose: Purpose, entrants: int, expected_s: float) -> None:
        """Say who takes part, and how long it will take."""
        about = f"about {format_duration(expected_s)} for two rounds"
        sentences = {
            Purpose.RACE: f"Race: {entrants} configs, {about}.",
            Purpose.ABLATION: f"What each change brings: {entrants} configs, {about}.",
        }
        self._tell(sentences[purpose])

    def race_skipped(self, purpose: Purpose) -> None:
        """Say what there is no time for."""
        if purpose is Purpose.ABLATION:
            self._tell("No time is left to see what each change brings.")

    def racing(self, purpose: Purpose, round: int, rounds: int, trials_left: int) -> None:
        """Show the round, and how far the race is."""
        self._purpose, self._due = purpose, trials_left
        self._stage = f"{purpose} {round}/{max(round, rounds)} · "
        done = len(self._costs_s.setdefault(purpose, []))
        self._bar.update(self._task, completed=done, total=done + trials_left)

    def _say(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _tell(self, sentence: str) -> None:
        """Print a sentence, broken between words where it is wider than the console."""
        for line in wrapped(sentence, self._width):
            self._say(line)

    def _baseline_is_known(self, baseline: Trial) -> None:
        """The time limit starts, and what is to come can be estimated."""
        if self._time_limit_s is not None:
            self._ends_s = time.monotonic() + self._time_limit_s
        search_s = max(0, self._total - len(self._trials)) * baseline.cost_s
        race_s = 0.0
        if baseline.measurement is not None:
            race_s = self._race_trials * round_s(baseline.measurement)
        if not search_s:
            return
        if self._time_limit_s is not None and search_s + race_s > self._time_limit_s:
            limit, what = format_duration(self._time_limit_s), "search and race"
            self._tell(f"At most {limit} of {what if race_s else 'search'}.")
            return
        # What compiles or exports takes longer, by how much nobody knows before.
        race = f", up to {format_duration(race_s)} of race" if race_s else ""
        search = f"about {format_duration(search_s)} of search"
        self._tell(f"At the baseline's cost a trial: {search}{race}.")

    def _done(self) -> int:
        return len(self._costs_s[self._purpose]) if self._stage else len(self._trials)

    def _place(self, trial: Trial) -> str:
        if trial.purpose.is_searched:
            return f"{len(self._trials)}/{self._total}"
        if trial.round is None:
            return str(trial.purpose)
        return f"{PLACES[trial.purpose]} {trial.round}"

    def _speedup(self, trial: Trial) -> float | None:
        baseline = self._baseline()
        if baseline is None or trial.measurement is None:
            return None
        return baseline.latency_s / latency_s(trial)

    def _baseline(self) -> Measurement | None:
        return next((trial.measurement for trial in self._trials if trial.config.is_baseline), None)

    def _winner(self) -> Trial | None:
        return best(self._trials, self._budget, self._objective, self._baseline())

    def _best(self) -> str:
        winner = self._winner()
        if winner is None:
            return ""
        return f"best {seconds(latency_s(winner))} ({times(self._speedup(winner))})"

    def _left(self) -> str:
        """From the mean cost of the trials so far; a search ends with its time limit."""
        costs_s = self._costs_s.get(self._purpose) or self._costs_s[Purpose.SEARCH]
        costs_s = costs_s or [trial.cost_s for trial in self._trials]
        if not costs_s:
            return ""
        due = self._due if self._stage else max(0, self._total - len(self._trials))
        rest_s = sum(costs_s) / len(costs_s) * due
        if self._ends_s is not None and not self._stage:
            rest_s = min(rest_s, max(0.0, self._ends_s - time.monotonic()))
        return f"{format_duration(rest_s)} left"


@contextmanager
def watching(progress: bool | Progress) -> Iterator[Progress]:
    """Whoever watches: the one that is given, a bar on a terminal, or nobody."""
    from rich.console import Console

    console = Console(stderr=True)
    if not isinstance(progress, bool):
        yield progress
    elif progress and console.is_terminal:
        with ConsoleProgress(console) as console_progress:
            yield console_progress
    else:
        yield Progress()


PLACES = {Purpose.RACE: "race", Purpose.ABLATION: "minus"}
"""What the first column calls the trials of a round: an ablation runs the winner minus a change."""


def plan_lines(plan: Plan) -> list[str]:
    """What a run will do, before it does it."""
    count = plan.space.count()
    if not count:
        return ["Plan: measure the baseline. There is nothing to choose from."]
    of = f"{count:,}" if count < MOST_COUNTED else f"more than {count:,}"
    trials = min(plan.trials - 1, count)
    if not trials:
        return [f"Plan: the baseline alone: --trials 1 leaves none of {of} configs to try."]
    limit = "" if plan.time_limit_s is None else f" within {format_duration(plan.time_limit_s)}"
    steps = [f"the baseline, then {trials} of {of} configs{limit}"]
    if plan.race_rounds:
        steps.append("a race of the best against the baseline")
        steps += ["what each change of the winner brings"] if plan.ablation else []
    return [f"{'Plan:' if step is steps[0] else '':<6}{step}" for step in steps]
