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
    """The entrants and the rules of a race; its trials are in the ledger.

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
        entrants = sorted(list(entrant.items()) for entrant in self.entrants)
        return fingerprint([self.context, str(self.objective), entrants])

    def due(self, trials: Sequence[Trial], number: int) -> list[Config]:
        """The entrants still to run in a round, in the order in which they run."""
        before = [trial for trial in trials if _round(trial) < number]
        ran = {trial.config for trial in trials if trial.round == number}
        due = (entrant for entrant in self._starters(before, number) if entrant not in ran)
        order = sorted(due, key=lambda entrant: tuple(entrant.items()))
        random.Random(f"{self.name}{number}").shuffle(order)
        return order

    def _starters(self, before: Sequence[Trial], number: int) -> list[Config]:
        standing = Standing(self, before)
        excluded = standing.failed | (standing.over_budget - {BASELINE})
        starters = [entrant for entrant in self.entrants if entrant not in excluded]
        if len(starters) < 2:
            return []
        if number <= MINIMUM_ROUNDS or standing.leader is None:
            return starters if number <= self.rounds else []
        rivals = standing.open_rivals(0.0 if number <= self.rounds else TIE)
        if not rivals:
            return []
        return [entrant for entrant in starters if entrant in rivals | {standing.leader, BASELINE}]

    def trials_left(self, trials: Sequence[Trial], number: int) -> int:
        """How many trials are due from this round on, if nobody drops out and no round is added."""
        later = max(0, self.rounds - number) * len(self._starters(trials, number))
        return len(self.due(trials, number)) + later

    def last_round(self) -> int:
        """The number of the last round, if all further ones are added."""
        return self.rounds + MORE_ROUNDS


def _round(trial: Trial) -> int:
    return trial.round or 0


@dataclass(frozen=True)
class Verdict:
    """Who won a race, and the reason in words."""

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
        finished = [trial for trial in self.trials if trial.config not in self.failed]
        for number in sorted({_round(trial) for trial in finished}):
            trials = [trial for trial in finished if _round(trial) == number]
            measurements = comparable([_measurement(trial) for trial in trials])
            for trial, measurement in zip(trials, measurements, strict=True):
                values.setdefault(trial.config, {})[number] = objective.value(measurement)
        return values

    @property
    def over_budget(self) -> set[Config]:
        """Entrants that have passed the budget, if only once."""
        budget = self.race.budget
        return {trial.config for trial in self.trials if trial.judged(budget) is not None}

    @property
    def eligible(self) -> list[Config]:
        """Entrants that may win: they ran, kept budget and objective, and are not barred."""
        barred = self.over_budget | self.race.barred
        return [
            entrant for entrant in self._values if entrant not in barred and self._allowed(entrant)
        ]

    def _allowed(self, entrant: Config) -> bool:
        if self.race.objective.name != "memory" or BASELINE not in self._values:
            return True
        assert self._latencies is not None
        return self._latencies.ratio(entrant, BASELINE).low <= 1

    @property
    def leader(self) -> Config | None:
        """The eligible entrant with the lowest value."""
        rounds = self._rounds
        return None if rounds is None else min(self.eligible, key=rounds.level, default=None)

    @property
    def repeated(self) -> bool:
        """Whether every eligible entrant ran in as many rounds as a race has at least."""
        return all(len(self._values[entrant]) >= MINIMUM_ROUNDS for entrant in self.eligible)

    def open_rivals(self, share: float) -> set[Config]:
        """Those of which it is open whether they are better than the leader by more than this.

        A rival that ties with the leader is as good for certain.
        """
        ratios = {
            entrant: self.over_leader(entrant)
            for entrant in self.eligible
            if entrant != self.leader
        }
        return {
            entrant
            for entrant, ratio in ratios.items()
            if ratio.low < 1 - share and not ratio.within(TIE)
        }

    def over_leader(self, entrant: Config) -> Interval:
        """The entrant's value over that of the leader."""
        assert self.leader is not None
        return self.value_ratio(entrant, self.leader)

    def value_ratio(self, numerator: Config, denominator: Config) -> Interval:
        """The value of the objective of one entrant over that of the other."""
        assert self._rounds is not None
        return self._rounds.ratio(numerator, denominator)

    def speedup(self, entrant: Config) -> Interval | None:
        """The baseline's latency over the entrant's, if the baseline ran."""
        if self._latencies is None or BASELINE not in self._values or entrant not in self._values:
            return None
        return self._latencies.ratio(BASELINE, entrant)

    def verdict(self, evidence: Mapping[Config, Trial]) -> Verdict | None:
        """The leader, or what ties with it and is to be preferred, or what is as good and simpler.

        Where the default may win, whatever wins in its place is significantly better than it.
        ``evidence`` has a measured trial of each entrant, cold, for what a race does not tell.
        """
        leader = self.leader
        if leader is None:
            return None
        ratios = {entrant: self.over_leader(entrant) for entrant in self.eligible}
        tied = [entrant for entrant, ratio in ratios.items() if ratio.within(TIE)]
        first = preferred(
            [entrant for entrant in tied if entrant in evidence] or [leader], evidence
        )
        as_good = [
            entrant for entrant, ratio in ratios.items() if entrant.within(first) and ratio.low <= 1
        ]
        simpler = [entrant for entrant in as_good if self._gains(entrant)]
        winner = min(
            simpler, key=lambda entrant: (len(entrant), ratios[entrant].ratio), default=leader
        )
        return Verdict(winner, _reason(winner, first, leader))

    def _gains(self, entrant: Config) -> bool:
        if entrant == BASELINE or BASELINE not in self.eligible:
            return True
        return self.value_ratio(entrant, BASELINE).high < 1


def preferred(tied: list[Config], evidence: Mapping[Config, Trial]) -> Config:
    """Of entrants that tie: less memory, then closer, then fewer changes, then a quicker start."""
    if len(tied) == 1:
        return tied[0]
    measurements = {entrant: _measurement(evidence[entrant]) for entrant in tied}
    least_bytes = min(measurement.peak_bytes for measurement in measurements.values())
    tied = [
        entrant for entrant in tied if measurements[entrant].peak_bytes <= (1 + TIE) * least_bytes
    ]
    closest_db = max(_psnr_db(measurements[entrant]) for entrant in tied)
    tied = [entrant for entrant in tied if _psnr_db(measurements[entrant]) >= closest_db - TIE_DB]
    return min(tied, key=lambda entrant: (len(entrant), start_up_s(measurements[entrant])))


def _measurement(trial: Trial) -> Measurement:
    assert trial.measurement is not None
    return trial.measurement


def _psnr_db(measurement: Measurement) -> float:
    return IDENTICAL_DB if measurement.psnr_db is None else measurement.psnr_db


def run_race(race: Race, trials: Sequence[Trial]) -> Iterator[tuple[list[Config], int]]:
    """The entrants of each next round; the caller adds their outcomes to ``trials``."""
    for number in range(1, race.last_round() + 1):
        # Who ran is asked anew: a round is finished by the run that takes it up.
        due = race.due(trials, number)
        if due:
            yield due, number
