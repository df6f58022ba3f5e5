"""The winners in the store: of each study's last race, worked out anew from its samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from search_space.budget import Budget
from search_space.config import changes
from search_space.trial import Trial
from storage import StoredTrial
from tuner.race.additive_model import Interval
from tuner.race.finals import first_measured, over_budget
from tuner.race.race import Race, Standing, entrant
from tuner.records.figures import raced_figures
from tuner.records.objective import SEARCHED, Objective, best

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Winner:
    """The winner of the last race of a study, or the best trial where there was none."""

    stored: StoredTrial
    speedup: Interval | None
    budget: Budget
    objective: str
    raced: tuple[Trial, ...] = ()

    @property
    def figures(self) -> dict[str, Any]:
        """Its figures, with latency, flags and peak of the race that it won."""
        return raced_figures(self.stored.trial, self.raced)


def winners(found: list[StoredTrial]) -> list[Winner]:
    """The best feasible trial for each machine, software, workload and budget.

    A budget is judged over all trials of the workload, under whatever budget they were run.
    """
    groups: dict[tuple[str, ...], list[StoredTrial]] = {}
    for stored in found:
        machine, workload = stored.machine, stored.workload
        identity = (machine.fingerprint, machine.software_fingerprint, workload.fingerprint)
        groups.setdefault(identity, []).append(stored)
    return [
        winner
        for group in groups.values()
        for budget, objective in dict.fromkeys((one.trial.budget, one.objective) for one in group)
        if (winner := _winner(group, budget, objective)) is not None
    ]


def asked(stored: StoredTrial) -> tuple[Budget, str | None]:
    """The budget and the objective of the trial's study."""
    return stored.trial.budget, stored.objective


def _winner(group: list[StoredTrial], budget: Budget, objective: str | None) -> Winner | None:
    by_number = {stored.trial.number: stored for stored in group}
    minimized = Objective.parse(objective or "latency")
    known = [replace(stored.trial, config=changes(stored.trial.config)) for stored in group]
    mine = [
        trial
        for stored, trial in zip(group, known, strict=True)
        if asked(stored) == (budget, objective)
    ]
    found = _raced(mine, known, budget, minimized)
    if found is None:
        over = over_budget(budget, known)
        searched = [trial for trial in known if trial.purpose in SEARCHED]
        baseline = next((trial.measurement for trial in searched if trial.config == {}), None)
        fits = [trial for trial in searched if entrant(trial.config) not in over]
        fastest = best(fits, budget, minimized, baseline)
        found = None if fastest is None else (fastest, None, ())
    if found is None:
        return None
    first, speedup, raced = found
    return Winner(by_number[first.number], speedup, budget, str(minimized), raced)


def _raced(
    mine: list[Trial], known: list[Trial], budget: Budget, objective: Objective
) -> tuple[Trial, Interval | None, tuple[Trial, ...]] | None:
    """The winner of the last race that says anything: its first trial, speed-up and trials."""
    races = [trial.race for trial in mine if trial.purpose == "race"]
    barred = frozenset(over_budget(budget, known))
    evidence = first_measured(known)
    for name in reversed(dict.fromkeys(races)):
        trials = [trial for trial in mine if trial.race == name]
        entrants = tuple(dict.fromkeys(entrant(trial.config) for trial in trials))
        standing = Standing(Race(entrants, 0, budget, objective, barred), trials)
        winner = standing.winner(evidence)
        if winner is not None and standing.repeated:
            raced = tuple(trial for trial in trials if entrant(trial.config) == winner)
            return evidence[winner], standing.speedup(winner), raced
    return None
