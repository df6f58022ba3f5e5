"""Who won, decided from the ledger alone: the one place where that is decided."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from search_space.budget import Budget
from search_space.config import BASELINE, Config
from search_space.trial import Purpose, Trial
from tuner.race.additive_model import Interval
from tuner.race.race import Race, Standing
from tuner.race.spoiled import spoiled
from tuner.records.objective import best
from tuner.records.rules import Rules


@dataclass(frozen=True)
class Decision:
    """The winner, by its first measured trial, and the trials of the race that it won, if any."""

    trial: Trial
    reason: str
    speedup: Interval | None = None
    race_trials: tuple[Trial, ...] = ()
    spoiled: str | None = None
    """Why there is no speed-up though there was a race."""

    @property
    def config(self) -> Config:
        return self.trial.config

    @property
    def trials_of_winner(self) -> tuple[Trial, ...]:
        """The winner's own trials in the race."""
        return tuple(trial for trial in self.race_trials if trial.config == self.config)


def decide(rules: Rules, study_id: int | None, history: Sequence[Trial]) -> Decision | None:
    """Who won in a study, or None where nothing may win.

    ``history`` are all trials of the workload on the machine, whatever study asked for them: a
    budget is judged over all. The last race of the study that says anything decides; without one
    the best trial of the search.
    """
    races = [t.race for t in history if t.study_id == study_id and t.purpose is Purpose.RACE]
    for name in reversed(dict.fromkeys(races)):
        decision = _by_race(rules, [trial for trial in history if trial.race == name], history)
        if decision is not None:
            return decision
    return _by_search(rules, history)


def _by_race(rules: Rules, trials: Sequence[Trial], history: Sequence[Trial]) -> Decision | None:
    entrants = tuple(dict.fromkeys(trial.config for trial in trials))
    standing = Standing(
        Race(entrants, 0, rules.budget, rules.objective, barred(rules, entrants, history)), trials
    )
    evidence = first_measured(history)
    verdict = standing.verdict(evidence)
    if verdict is None or not standing.repeated:
        return None
    pair = [trial for trial in trials if trial.config in (BASELINE, verdict.winner)]
    busy = None if verdict.winner.is_baseline else spoiled(pair)
    speedup = None if busy else standing.speedup(verdict.winner)
    return Decision(evidence[verdict.winner], verdict.reason, speedup, tuple(trials), busy)


def _by_search(rules: Rules, history: Sequence[Trial]) -> Decision | None:
    latest = {trial.config: trial for trial in history if trial.purpose.is_searched}
    excluded = barred(rules, latest, history)
    baseline = latest.get(BASELINE)
    admitted = [trial for config, trial in latest.items() if config not in excluded]
    reference = baseline.measurement if baseline else None
    winner = best(admitted, rules.budget, rules.objective, reference)
    return None if winner is None else Decision(winner, "the best of the search; there was no race")


def barred(rules: Rules, configs: Iterable[Config], history: Iterable[Trial]) -> frozenset[Config]:
    """Configs that may take part and not win: once over the budget, or outside the pins."""
    outside = {config for config in configs if not rules.admits(config)}
    return frozenset(over_budget(rules.budget, history) | outside)


def over_budget(budget: Budget, trials: Iterable[Trial]) -> set[Config]:
    """The configs of which a single trial has passed the budget: they never win."""
    return {
        trial.config
        for trial in trials
        if trial.exceeds(budget) or (trial.measurement and trial.judged(budget))
    }


def first_measured(trials: Iterable[Trial]) -> dict[Config, Trial]:
    """The first measured trial of each config, whose start was a cold one."""
    firsts: dict[Config, Trial] = {}
    for trial in sorted(trials, key=lambda trial: (not trial.purpose.is_searched, trial.number)):
        if trial.measurement is not None:
            firsts.setdefault(trial.config, trial)
    return firsts
