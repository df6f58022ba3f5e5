"""The race: finalists and the baseline in randomized blocks, and the verdict."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from search_space.budget import UNLIMITED, Budget
from search_space.config import BASELINE, Config
from search_space.identity import fingerprint
from search_space.trial import Measurement, Trial
from tuner.race.additive_model import AdditiveModel, Interval
from tuner.race.paired_calls import comparable
from tuner.records.figures import IDENTICAL_DB
from tuner.records.objective import LATENCY, Objective, start_up_s
from tuner.records.request import MINIMUM_ROUNDS

MORE_ROUNDS = 2
"""Added where a rival may still be better than the leader by more than a tie."""

TIE = 0.01
"""So small a share of latency or memory is not felt, so the next criterion decides. To tell less
apart would take more rounds: at 2 % of noise the winner is further than this from the best in a
sixth to a third of simulated races."""

TIE_DB = 1.0
"""An error larger by an eighth: a smaller difference of images does not decide before the number of
changes does."""


@dataclass(frozen=True)
class Race:
    """Who takes part, and by which rules one wins; the trials are kept in the ledger.

    ``barred`` may take part and not win. ``context`` tells races of the same entrants apart.
    """

    entrants: tuple[Config, ...]
    rounds: int
    budget: Budget = UNLIMITED
    objective: Objective = LATENCY
    barred: frozenset[Config] = frozenset()
    context: str = ""

    @property
    def name(self) -> str:
        """The same for the same race, so that it goes on where it was killed."""
        entrants = sorted(list(one.items()) for one in self.entrants)
        return fingerprint([self.context, str(self.objective), entrants])

    def due(self, trials: Sequence[Trial], number: int) -> list[Config]:
        """Who has yet to run in a round, in the order in which they run."""
        before = [trial for trial in trials if _round(trial) < number]
        ran = {trial.config for trial in trials if trial.round == number}
        left = (one for one in self._starters(before, number) if one not in ran)
        order = sorted(left, key=lambda one: tuple(one.items()))
        random.Random(f"{self.name}{number}").shuffle(order)
        return order

    def _starters(self, before: Sequence[Trial], number: int) -> list[Config]:
        standing = Standing(self, before)
        out = standing.failed | (standing.over_budget - {BASELINE})
        runs = [one for one in self.entrants if one not in out]
        if len(runs) < 2:
            return []
        if number <= MINIMUM_ROUNDS or standing.leader is None:
            return runs if number <= self.rounds else []
        rivals = [one for one in standing.eligible if one != standing.leader]
        if number <= self.rounds:
            keep = {one for one in rivals if standing.over_leader(one).low <= 1}
        else:
            keep = {one for one in rivals if standing.over_leader(one).low < 1 - TIE}
            if not keep:
                return []
        return [one for one in runs if one in keep | {standing.leader, BASELINE}]

    def left(self, trials: Sequence[Trial], number: int) -> int:
        """How many trials are due from this round on, if nobody drops out and no round is added."""
        later = max(0, self.rounds - number) * len(self._starters(trials, number))
        return len(self.due(trials, number)) + later

    def last_round(self) -> int:
        """The number of rounds after which nobody is measured any more."""
        return self.rounds + MORE_ROUNDS


def _round(trial: Trial) -> int:
    return trial.round or 0


@dataclass(frozen=True)
class Verdict:
    """Who won a race, and why, in words."""

    winner: Config
    reason: str


def _reason(winner: Config, first: Config, leader: Config) -> str:
    if winner.is_baseline:
        return "no config was significantly better than the default"
    if winner != first:
        return f"not significantly behind {first.describe()}, and simpler"
    if winner != leader:
        same = f"as good as {leader.describe()} within {TIE:.0%}"
        return f"{same}; it holds less memory, keeps closer to the image or changes less"
    return "the best of the race"


@dataclass
class Standing:
    """How the entrants of a race compare after the trials so far."""

    race: Race
    trials: Sequence[Trial]
    failed: set[Config] = field(init=False)

    def __post_init__(self) -> None:
        self.failed = {trial.config for trial in self.trials if trial.measurement is None}
        self._values = self._by_round(self.race.objective)
        self._rounds = AdditiveModel(self._values) if self._values else None
        self._latencies = AdditiveModel(self._by_round(LATENCY)) if self._values else None

    def _by_round(self, objective: Objective) -> dict[Config, dict[int, float]]:
        values: dict[Config, dict[int, float]] = {}
        finished = [one for one in self.trials if one.config not in self.failed]
        for number in sorted({_round(trial) for trial in finished}):
            found = [trial for trial in finished if _round(trial) == number]
            measured = comparable([_measured(trial) for trial in found])
            for trial, known in zip(found, measured, strict=True):
                values.setdefault(trial.config, {})[number] = objective.value(known)
        return values

    @property
    def over_budget(self) -> set[Config]:
        """Who has passed the budget, if only once."""
        budget = self.race.budget
        judged = ((trial, trial.judged(budget)) for trial in self.trials)
        return {trial.config for trial, failure in judged if failure is not None}

    @property
    def eligible(self) -> list[Config]:
        """Who may win: ran, never passed the budget, is not barred and keeps to the objective."""
        barred = self.over_budget | self.race.barred
        return [one for one in self._values if one not in barred and self._allowed(one)]

    def _allowed(self, one: Config) -> bool:
        if self.race.objective.name != "memory" or BASELINE not in self._values:
            return True
        assert self._latencies is not None
        return self._latencies.ratio(one, BASELINE).low <= 1

    @property
    def leader(self) -> Config | None:
        """The lowest of those who may win."""
        rounds = self._rounds
        return None if rounds is None else min(self.eligible, key=rounds.level, default=None)

    @property
    def repeated(self) -> bool:
        """Whether all who may win ran in as many rounds as the fewest of a race."""
        return all(len(self._values[one]) >= MINIMUM_ROUNDS for one in self.eligible)

    def over_leader(self, one: Config) -> Interval:
        """The entrant's value over that of the leader."""
        assert self.leader is not None
        return self.value_ratio(one, self.leader)

    def value_ratio(self, one: Config, other: Config) -> Interval:
        """One's value of the objective over the other's."""
        assert self._rounds is not None
        return self._rounds.ratio(one, other)

    def speedup(self, one: Config) -> Interval | None:
        """The baseline's latency over the entrant's, if the baseline ran."""
        if self._latencies is None or BASELINE not in self._values or one not in self._values:
            return None
        return self._latencies.ratio(BASELINE, one)

    def verdict(self, evidence: Mapping[Config, Trial]) -> Verdict | None:
        """The leader, or what ties with it and is to be preferred, or what is as good and simpler.

        Where the default may win, whatever wins in its place is significantly better than it.
        ``evidence`` has a measured trial of each entrant, cold, for what a race does not tell.
        """
        leader = self.leader
        if leader is None:
            return None
        ratios = {one: self.over_leader(one) for one in self.eligible}
        tied = [
            one for one, found in ratios.items() if 1 - TIE <= found.low <= found.high <= 1 + TIE
        ]
        first = preferred([one for one in tied if one in evidence] or [leader], evidence)
        as_good = [one for one, found in ratios.items() if one.within(first) and found.low <= 1]
        simpler = [one for one in as_good if self._gains(one)]
        winner = min(simpler, key=lambda one: (len(one), ratios[one].ratio), default=leader)
        return Verdict(winner, _reason(winner, first, leader))

    def _gains(self, one: Config) -> bool:
        if one == BASELINE or BASELINE not in self.eligible:
            return True
        return self.value_ratio(one, BASELINE).high < 1


def preferred(tied: list[Config], evidence: Mapping[Config, Trial]) -> Config:
    """Of entrants that tie: less memory, then closer, then fewer changes, then a quicker start."""
    if len(tied) == 1:
        return tied[0]
    measured = {one: _measured(evidence[one]) for one in tied}
    least_bytes = min(known.peak_bytes for known in measured.values())
    tied = [one for one in tied if measured[one].peak_bytes <= (1 + TIE) * least_bytes]
    closest_db = max(_psnr_db(measured[one]) for one in tied)
    tied = [one for one in tied if _psnr_db(measured[one]) >= closest_db - TIE_DB]
    return min(tied, key=lambda one: (len(one), start_up_s(measured[one])))


def _measured(trial: Trial) -> Measurement:
    assert trial.measurement is not None
    return trial.measurement


def _psnr_db(measured: Measurement) -> float:
    return IDENTICAL_DB if measured.psnr_db is None else measured.psnr_db


def run_race(race: Race, trials: Sequence[Trial]) -> Iterator[tuple[list[Config], int]]:
    """Whom to measure in the next round; ``trials`` grows by what became of them."""
    for number in range(1, race.last_round() + 1):
        # Who ran is asked anew: a round is finished by the run that takes it up.
        due = race.due(trials, number)
        if due:
            yield due, number
