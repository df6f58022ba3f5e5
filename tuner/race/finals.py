"""After the search: the race of the finalists, and the ablation of its winner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from search_space.config import BASELINE, Config
from search_space.trial import Purpose, Trial
from tuner.bench import Bench
from tuner.race.ablation import Change, judged, only_change, reverted, simpler
from tuner.race.decision import barred, first_measured
from tuner.race.finalists import finalists
from tuner.race.race import Race, Standing, run_race
from tuner.records.plan import Plan


class Finals:
    """What follows the search, in the same ledger; nothing that was measured is repeated.

    Who has won is decided from the ledger: see ``decision``.
    """

    def __init__(self, bench: Bench, trials: Sequence[Trial]) -> None:
        self.changes: tuple[Change, ...] = ()
        """What each change of the winner brings, as far as it is known."""
        self._bench = bench
        self._trials = trials
        self._known = bench.known()
        self._measured_baseline = any(
            trial.config.is_baseline and trial.measurement is not None for trial in trials
        )

    @property
    def _plan(self) -> Plan:
        return self._bench.plan

    def run(self) -> None:
        """Race, ablate and, where something simpler may be as good, race again."""
        winner = self._first_race() if self._plan.race_rounds else None
        if winner is not None and self._plan.ablation and len(winner) > 1:
            self._ablate(winner)

    def _first_race(self) -> Config | None:
        """The winner of the finalists; of the next best, as long as all of them fell."""
        left, winner = list(self._trials), None
        while best := finalists(self._plan, left, self._known):
            entrants = [trial.config for trial in best]
            standing, winner = self._raced(entrants)
            fell = self._fallen(standing.trials) if winner is not None else set(entrants)
            if set(entrants) - fell:
                break
            left = [trial for trial in left if trial.config not in fell - {BASELINE}]
        return winner

    def _fallen(self, trials: Iterable[Trial]) -> set[Config]:
        """The configs that failed in a race or passed the budget in it."""
        budget = self._plan.budget
        return {trial.config for trial in trials if trial.judged(budget) is not None}

    def _raced(self, entrants: Sequence[Config]) -> tuple[Standing, Config | None]:
        baseline = (BASELINE,) if self._measured_baseline else ()
        standing = self._run((*baseline, *entrants), Purpose.RACE)
        verdict = standing.verdict(first_measured(self._known))
        if verdict is None:
            return standing, None
        if self._plan.ablation:
            found = only_change(standing, verdict.winner, self._plan.space)
            self.changes = tuple(found.values())
        return standing, verdict.winner

    def _ablate(self, winner: Config) -> None:
        without, found = reverted(winner, self._plan.space)
        standing = self._run((winner, *without.values()), Purpose.ABLATION)
        for knob, rest in without.items():
            found[knob] = judged(standing, winner, knob, rest)
        final = winner
        self.changes = tuple(found.values())
        if rests := simpler(winner, found, self._plan.space):
            _, again = self._raced([winner, *rests])
            final = winner if again is None else again
        self.changes = tuple(
            replace(change, kept=knob in final) for knob, change in sorted(found.items())
        )

    def _run(self, entrants: Sequence[Config], purpose: Purpose) -> Standing:
        plan = self._plan
        race = Race(
            tuple(dict.fromkeys(entrants)),
            plan.race_rounds,
            plan.budget,
            plan.objective,
            barred(plan.rules, entrants, self._known),
            f"{purpose} in study {self._bench.study_id}",
        )
        trials = [trial for trial in self._known if trial.race == race.name]
        for due, number in run_race(race, trials):
            for trial in self._measured(due, race, purpose, number, trials):
                trials.append(trial)
                self._known.append(trial)
        return Standing(race, trials)

    def _measured(
        self,
        due: Sequence[Config],
        race: Race,
        purpose: Purpose,
        number: int,
        trials: Sequence[Trial],
    ) -> Iterator[Trial]:
        """The trials of a round: interleaved where memory holds all, or one after another."""
        bench = self._bench
        if bench.side_by_side([self._held_bytes(config) for config in due]):
            measured = bench.measure_interleaved(due, purpose, race.name, number)
        else:
            measured = (bench.measure(config, purpose, race.name, number) for config in due)
        for _ in due:
            bench.progress.racing(purpose, number, race.rounds, race.left(trials, number))
            yield next(measured)

    def _held_bytes(self, config: Config) -> int:
        """The most that a trial of it has held of the host; if it has not run, that any has."""
        found = [(trial.config, trial.measurement) for trial in self._known]
        held = [(one, measured.host_peak_bytes) for one, measured in found if measured is not None]
        its_bytes = [held_bytes for one, held_bytes in held if one == config]
        return max(its_bytes or [held_bytes for _, held_bytes in held])
