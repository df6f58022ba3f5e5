"""After the search: the race of the finalists, and the ablation of its winner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from search_space.config import BASELINE, Config
from search_space.trial import Purpose, Trial
from tuner.bench import Bench
from tuner.race.ablation import Change, change_of, only_change, reversions, simpler
from tuner.race.decision import barred, first_measured
from tuner.race.finalists import finalists
from tuner.race.race import Race, Standing, run_race
from tuner.records.costs import round_s
from tuner.records.plan import Plan
from tuner.records.request import MINIMUM_ROUNDS


class Finals:
    """The race and the ablation, in the ledger of the search; no trial is repeated.

    Who has won is decided from the ledger: see ``decision``.
    """

    def __init__(self, bench: Bench, trials: Sequence[Trial]) -> None:
        self.changes: tuple[Change, ...] = ()
        """What each change of the winner brings, as far as it is known."""
        self._bench = bench
        self._trials = trials
        self._history = bench.history()
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
            if self._has_time([winner, *reversions(winner, self._plan.space)[0].values()]):
                self._ablate(winner)
            else:
                self._bench.progress.race_skipped(Purpose.ABLATION)

    def _first_race(self) -> Config | None:
        """The winner of the finalists; of the next best, as long as all of them fell."""
        candidates, winner = list(self._trials), None
        while best := finalists(self._plan, candidates, self._history):
            entrants = [trial.config for trial in best]
            standing, winner = self._race(entrants)
            dropped = self._fallen(standing.trials) if winner is not None else set(entrants)
            if set(entrants) - dropped:
                break
            candidates = [trial for trial in candidates if trial.config not in dropped - {BASELINE}]
        return winner

    def _fallen(self, trials: Iterable[Trial]) -> set[Config]:
        budget = self._plan.budget
        return {trial.config for trial in trials if trial.judged(budget) is not None}

    def _race(self, entrants: Sequence[Config]) -> tuple[Standing, Config | None]:
        baseline = (BASELINE,) if self._measured_baseline else ()
        bench, every = self._bench, (*baseline, *entrants)
        bench.progress.race_planned(Purpose.RACE, len(every), self.expected_s(every))
        standing = self._run(every, Purpose.RACE)
        verdict = standing.verdict(first_measured(self._history))
        if verdict is None:
            return standing, None
        if self._plan.ablation:
            changes = only_change(standing, verdict.winner, self._plan.space)
            self.changes = tuple(changes.values())
        return standing, verdict.winner

    def _ablate(self, winner: Config) -> None:
        without, changes = reversions(winner, self._plan.space)
        every = (winner, *without.values())
        self._bench.progress.race_planned(Purpose.ABLATION, len(every), self.expected_s(every))
        standing = self._run(every, Purpose.ABLATION)
        for knob, rest in without.items():
            changes[knob] = change_of(standing, winner, knob, rest)
        final = winner
        self.changes = tuple(changes.values())
        rests = simpler(winner, changes, self._plan.space)
        if rests and self._has_time([BASELINE, winner, *rests]):
            _, rematch = self._race([winner, *rests])
            final = winner if rematch is None else rematch
        self.changes = tuple(
            replace(change, kept=knob in final) for knob, change in sorted(changes.items())
        )

    def _run(self, entrants: Sequence[Config], purpose: Purpose) -> Standing:
        plan = self._plan
        race = Race(
            tuple(dict.fromkeys(entrants)),
            plan.race_rounds,
            plan.budget,
            plan.objective,
            barred(plan.rules, entrants, self._history),
            f"{purpose} in study {self._bench.study_id}",
        )
        trials = [trial for trial in self._history if trial.race == race.name]
        for due, number in run_race(race, trials):
            # Two rounds are what a race is: the second is left out only once time is over.
            expected_s = self.expected_s(due, rounds=1) if number > MINIMUM_ROUNDS else 0.0
            if number > 1 and expected_s > self._bench.left_s:
                break
            for trial in self._round(due, race, purpose, number, trials):
                trials.append(trial)
                self._history.append(trial)
        return Standing(race, trials)

    def _round(
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
            trials_due = bench.measure_interleaved(due, purpose, race.name, number)
        else:
            trials_due = (bench.measure(config, purpose, race.name, number) for config in due)
        for _ in due:
            bench.progress.racing(purpose, number, race.rounds, race.trials_left(trials, number))
            yield next(trials_due)

    def expected_s(self, configs: Iterable[Config], rounds: int = MINIMUM_ROUNDS) -> float:
        """What so many rounds of these configs are expected to take.

        One that has not run yet is taken to be as long as the longest.
        """
        known_s = {
            trial.config: round_s(trial.measurement)
            for trial in self._history
            if trial.measurement is not None
        }
        longest_s = max(known_s.values(), default=0.0)
        return rounds * sum(known_s.get(config, longest_s) for config in configs)

    def _has_time(self, configs: Iterable[Config], rounds: int = MINIMUM_ROUNDS) -> bool:
        return self.expected_s(configs, rounds) <= self._bench.left_s

    def _held_bytes(self, config: Config) -> int:
        """The most of the host that its trials have held; that of any config before it has run."""
        peaks: dict[Config, int] = {}
        for trial in self._history:
            if trial.measurement is not None:
                peak_bytes = trial.measurement.host_peak_bytes
                peaks[trial.config] = max(peak_bytes, peaks.get(trial.config, 0))
        return peaks[config] if config in peaks else max(peaks.values())
