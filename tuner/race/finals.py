"""After the search: the finalists, their race, and what each change of the winner brings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from search_space.budget import Budget
from search_space.config import changes
from search_space.space import Space
from search_space.trial import Config, Measurement, Trial
from tuner.race.additive_model import Interval
from tuner.race.race import BASELINE, Entrant, Race, Standing, entrant, run_race
from tuner.records.figures import among
from tuner.records.objective import SEARCHED, best, value_of
from tuner.search.loop import Loop

FINALISTS = 4
REACH = 1.15
"""A finalist's value is at most this many times the best one's."""

DRIFTED = 0.03


@dataclass(frozen=True)
class Change:
    """What one change of the winner brings: the value without it over the value with it."""

    knob: str
    choice: str
    gain: Interval | None
    kept: bool
    note: str = ""
    disturbed: str | None = None


@dataclass(frozen=True)
class Conclusion:
    """The winner of a race, its speed-up, and what each of its changes brings."""

    winner: Config
    speedup: Interval | None
    trials: tuple[Trial, ...]
    rounds: int
    changes: tuple[Change, ...] = ()


def drift(trials: Iterable[Trial]) -> float:
    """The largest latency of the baseline over the smallest, less 1, over baseline and drift."""
    found_s = [known.latency_s for _, known in _baselines(trials)]
    return max(found_s) / min(found_s) - 1 if found_s else 0.0


def _baselines(trials: Iterable[Trial]) -> list[tuple[int, Measurement]]:
    found = [
        (trial.number, trial.measurement)
        for trial in trials
        if trial.config == {} and trial.purpose in ("baseline", "drift") and trial.measurement
    ]
    # A neighbour that came and went is not the machine's drift.
    return [known for known in found if known[1].disturbed is None] or found


def finalists(loop: Loop, trials: Sequence[Trial], known: Sequence[Trial]) -> list[Trial]:
    """The best of the search by value; where the baseline moved, also by value over the local one.

    One slow measurement of the baseline must not lift its neighbours over what was faster.
    """
    plan = loop.plan
    over = over_budget(plan.budget, (one for one in known if one.purpose in SEARCHED))
    baseline = next((trial.measurement for trial in trials if trial.config == {}), None)
    feasible = [
        trial
        for trial in trials
        if plan.space.holds(trial.config)
        and entrant(trial.config) not in over
        and best([trial], plan.budget, plan.objective, baseline) is trial
    ]
    values = {trial.number: value_of(trial, plan.objective) for trial in feasible}
    behind = shares(values)
    if drift(known) > DRIFTED and plan.objective.of_one_call:
        local = shares(over_local_baseline(values, _baselines(known)))
        behind = {number: min(share, local[number]) for number, share in behind.items()}
    order = sorted(feasible, key=lambda trial: behind[trial.number])
    changed = [trial for trial in order if trial.config != {}][:FINALISTS]
    return [trial for trial in changed if behind[trial.number] <= REACH]


def shares(values: Mapping[int, float]) -> dict[int, float]:
    """Each value over the best one."""
    lowest = min(values.values(), default=1.0)
    return {number: value / lowest for number, value in values.items()}


def over_local_baseline(
    values: Mapping[int, float], baselines: Sequence[tuple[int, Measurement]]
) -> dict[int, float]:
    """Each value over the latency of the baseline that was measured nearest in time."""
    return {
        number: value / min(baselines, key=lambda found: abs(found[0] - number))[1].latency_s
        for number, value in values.items()
    }


class Finals:
    """What follows the search, in the same ledger; nothing that was measured is repeated."""

    def __init__(self, loop: Loop, trials: Sequence[Trial]) -> None:
        self._loop = loop
        self._trials = trials
        self._known = loop.known()
        self._measured_baseline = any(
            trial.config == {} and trial.measurement is not None for trial in trials
        )

    def conclude(self) -> Iterator[Conclusion]:
        """The conclusion of the race, and then that of the ablation, if there is one."""
        found = self._first_race() if self._loop.plan.race_rounds else None
        if found is None:
            return
        yield found
        if self._loop.plan.ablation and len(found.winner) > 1:
            yield self._ablated(found)

    def _first_race(self) -> Conclusion | None:
        """The race of the finalists; of the next best, as long as all of them fell in it."""
        left, found = list(self._trials), None
        while best_ones := finalists(self._loop, left, self._known):
            raced = {entrant(trial.config) for trial in best_ones}
            found = self._raced(list(raced))
            fell = self._fallen(found.trials) if found else raced
            if raced - fell:
                break
            left = [one for one in left if entrant(one.config) not in fell - {BASELINE}]
        return found

    def _fallen(self, trials: Iterable[Trial]) -> set[Entrant]:
        """The configs that failed in a race or passed the budget in it."""
        budget = self._loop.plan.budget
        return {entrant(trial.config) for trial in trials if trial.judged(budget) is not None}

    def _raced(self, entrants: Sequence[Entrant]) -> Conclusion | None:
        baseline = (BASELINE,) if self._measured_baseline else ()
        race = self._race((*baseline, *entrants), "race")
        trials = self._run(race, "race")
        standing = Standing(race, trials)
        winner = standing.winner(first_measured(self._known))
        if winner is None:
            return None
        rounds = max(trial.round or 0 for trial in trials)
        alone = self._only_change(standing, winner) if self._loop.plan.ablation else ()
        config, speedup = dict(sorted(winner)), standing.speedup(winner)
        return Conclusion(config, speedup, tuple(trials), rounds, alone)

    def _only_change(self, standing: Standing, winner: Entrant) -> tuple[Change, ...]:
        """Of a winner with one change: what it brings. The race itself has reverted it."""
        if len(winner) != 1:
            return ()
        ((knob, choice),) = winner
        without, found = reverted(dict(winner), self._loop.plan.space)
        for one in without.values():
            found[knob] = replace(judged(standing, winner, knob, choice, one), kept=True)
        return tuple(found.values())

    def _race(self, entrants: Sequence[Entrant], purpose: str) -> Race:
        plan = self._loop.plan
        over = over_budget(plan.budget, self._known)
        outside = {one for one in entrants if not plan.space.holds(dict(one))}
        return Race(
            tuple(dict.fromkeys(entrants)),
            plan.race_rounds,
            plan.budget,
            plan.objective,
            frozenset(over | outside),
            f"{purpose} in study {self._loop.study_id}",
        )

    def _run(self, race: Race, purpose: str) -> list[Trial]:
        trials = [trial for trial in self._known if trial.race == race.name]
        for due, number in run_race(race, trials):
            for trial in self._measured(due, race, purpose, number, trials):
                trials.append(trial)
                self._known.append(trial)
        return trials

    def _measured(
        self, due: Sequence[Entrant], race: Race, purpose: str, number: int, trials: Sequence[Trial]
    ) -> Iterator[Trial]:
        """The trials of a round: in turns where there is room for all, or one after another."""
        loop, configs = self._loop, [dict(sorted(one)) for one in due]
        if loop.side_by_side([self._held_bytes(one) for one in due]):
            measured = loop.measure_in_turns(configs, purpose, race.name, number)
        else:
            measured = (loop.measure(config, purpose, race.name, number) for config in configs)
        for _ in configs:
            loop.racing(purpose, number, race.rounds, race.left(trials, number))
            yield next(measured)

    def _held_bytes(self, one: Entrant) -> int:
        """The most that a trial of it has held of the host; if it has not run, that any has."""
        found = [(trial.config, trial.measurement) for trial in self._known]
        held = [(config, known.host_peak_bytes) for config, known in found if known is not None]
        its_bytes = [held_bytes for config, held_bytes in held if entrant(config) == one]
        return max(its_bytes or [held_bytes for _, held_bytes in held])

    def _ablated(self, raced: Conclusion) -> Conclusion:
        """The winner with the changes that bring something alone, if that is as good."""
        winner = entrant(raced.winner)
        without, found = reverted(raced.winner, self._loop.plan.space)
        race = self._race((winner, *without.values()), "ablation")
        standing = Standing(race, self._run(race, "ablation"))
        for knob, one in without.items():
            found[knob] = judged(standing, winner, knob, raced.winner[knob], one)
        simpler = self._simpler(raced.winner, found)
        again = self._raced([winner, *simpler]) if simpler else None
        chosen = again if again and entrant(again.winner) <= winner else raced
        table = tuple(
            replace(change, kept=knob in chosen.winner) for knob, change in sorted(found.items())
        )
        return Conclusion(chosen.winner, chosen.speedup, chosen.trials, chosen.rounds, table)

    def _simpler(self, config: Config, found: dict[str, Change]) -> list[Entrant]:
        """Without all that brings nothing, and without what brings the least of it."""
        idle = [change for change in found.values() if not change.kept]
        if not idle:
            return []
        least = min(idle, key=lambda change: change.gain.ratio if change.gain else 1.0)
        wanted = [{change.knob for change in idle}, {least.knob}]
        rests = [{knob: config[knob] for knob in config if knob not in names} for names in wanted]
        return [entrant(rest) for rest in rests if rest and self._loop.plan.space.holds(rest)]


def judged(standing: Standing, winner: Entrant, knob: str, choice: str, without: Entrant) -> Change:
    """Whether a change is worth keeping: it is where the config without it is worse or unfit."""
    unfit = without not in standing.eligible
    if unfit or winner not in standing.eligible:
        return Change(knob, choice, None, True, "without it the config does not do")
    gain = standing.value_ratio(without, winner)
    pair = [one for one in standing.trials if entrant(one.config) in (without, winner)]
    spoiled = among([one.outcome.disturbed for one in pair], "trials")
    return Change(knob, choice, gain, gain.low > 1, disturbed=spoiled)


def reverted(config: Config, space: Space) -> tuple[dict[str, Entrant], dict[str, Change]]:
    """The config without each of its changes, and the changes that cannot be reverted alone."""
    without: dict[str, Entrant] = {}
    bound: dict[str, Change] = {}
    for knob, choice in config.items():
        rest = changes({name: value for name, value in config.items() if name != knob})
        if knob in space.fix:
            bound[knob] = Change(knob, choice, None, True, "it is fixed")
        elif not space.holds(rest):
            reason = space.clash(rest) or "the space does not hold the rest"
            bound[knob] = Change(knob, choice, None, True, reason)
        else:
            without[knob] = entrant(rest)
    return without, bound


def over_budget(budget: Budget, trials: Iterable[Trial]) -> set[Entrant]:
    """The configs of which a single trial has passed the budget: they never win."""
    return {
        entrant(trial.config)
        for trial in trials
        if trial.exceeds(budget) or (trial.measurement and trial.judged(budget))
    }


def first_measured(trials: Iterable[Trial]) -> dict[Entrant, Trial]:
    """The first measured trial of each config, whose start was a cold one."""
    found: dict[Entrant, Trial] = {}
    for trial in sorted(trials, key=lambda trial: (trial.purpose not in SEARCHED, trial.number)):
        if trial.measurement is not None:
            found.setdefault(entrant(trial.config), trial)
    return found
