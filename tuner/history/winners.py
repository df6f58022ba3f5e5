"""The winner of each study in the store, decided anew from its trials."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from reprlib import repr as short
from typing import Any

from search_space.budget import Budget
from search_space.catalog import all_knobs
from search_space.config import Config
from search_space.errors import StoreError
from search_space.knob import Tier
from search_space.trial import Trial, check_whole
from storage import Store, StoredTrial, contenders
from storage.contenders import Asked, Contender, Group, Reader
from storage.summary import Filter
from tuner.history.comparison import with_baseline
from tuner.race.additive_model import Interval
from tuner.race.decision import decide
from tuner.records.figures import raced_figures
from tuner.records.objective import NO_WORSE, Objective
from tuner.records.rules import Rules


@dataclass(frozen=True)
class Winner:
    """The winner of a study: of its last race, or of its search where there was none."""

    stored: StoredTrial
    speedup: Interval | None
    rules: Rules
    reason: str
    race_trials: tuple[Trial, ...] = ()
    spoiled: str | None = None
    """Why there is no speed-up though there was a race."""

    @property
    def is_raced(self) -> bool:
        """Whether a race has decided."""
        return bool(self.race_trials)

    @property
    def budget(self) -> Budget:
        """The limits of its study."""
        return self.rules.budget

    @property
    def objective(self) -> str:
        """What it is the best of, in words."""
        return str(self.rules.objective)

    @property
    def figures(self) -> dict[str, Any]:
        """Its figures, with latency, flags and peak of the race that it won."""
        return raced_figures(self.stored.trial, self.race_trials)


def winners(trials: Sequence[StoredTrial]) -> list[Winner]:
    """The winner of each study, as its run has named it; the same one is listed once.

    A budget is judged over all trials of the workload on the machine, whatever study asked.
    """
    groups: dict[tuple[str, ...], list[StoredTrial]] = {}
    for stored in trials:
        machine, workload = stored.machine, stored.workload
        identity = (machine.fingerprint, machine.software_fingerprint, workload.fingerprint)
        groups.setdefault(identity, []).append(stored)
    unique: dict[object, Winner] = {}
    for key, group in groups.items():
        studies: Mapping[int | None, StoredTrial] = {
            stored.trial.study_id: stored for stored in group
        }
        for study_id, stored in studies.items():
            winner = _winner(group, study_id, rules_of(stored))
            if winner is not None:
                limits = winner.budget, winner.objective
                unique[(key, limits, winner.stored.trial.config)] = winner
    return list(unique.values())


def winners_of(store: Store, filters: Sequence[Filter] = ()) -> list[Winner]:
    """The same, of studies that have trials for which the filters hold.

    Only the trials that decide are read: those of the last race, or the best of the search.
    """

    def found(reader: Reader) -> list[tuple[Asked, list[int]]]:
        studies = contenders.asked(reader, filters)
        return [
            (study, _last_race(reader, study) or _of_search(reader, study)) for study in studies
        ]

    lasts = store.read(found)
    known = _numbered(store, {number for _, numbers in lasts for number in numbers})
    unique: dict[object, Winner] = {}
    for study, numbers in lasts:
        winner = _decided(store, study, numbers, known)
        if winner is not None:
            limits = winner.budget, winner.objective
            unique[(study.group, limits, winner.stored.trial.config)] = winner
    return list(unique.values())


def rules_by(memory: int | None, quality: Tier, objective: str) -> Rules:
    """Rules of one's own; what makes another image by design needs the quality lossy."""
    budget = Budget(memory, quality=quality)
    if quality is Tier.LOSSY:
        return Rules(budget, Objective(objective))
    kept = {
        knob.name: [each.value for each in knob.choices if not each.another_image]
        for knob in all_knobs()
    }
    return Rules(budget, Objective(objective), kept)


def chosen_again(store: Store, rules: Rules, filters: Sequence[Filter] = ()) -> list[Winner]:
    """The best of what was measured, for each workload and machine, by other rules than a run's.

    The search decides, for no race was run by these rules; the speed-up is that of a race in which
    the config took part.
    """
    chosen: list[Winner] = []
    studies = store.read(lambda reader: contenders.asked(reader, filters))
    for group in dict.fromkeys(study.group for study in studies):
        best = store.read(partial(_best_numbers, group=group, rules=rules))
        known = _numbered(store, best)
        decision = decide(rules, None, [stored.trial for stored in known.values()])
        if decision is None:
            continue
        number = decision.trial.number
        raced = store.read(partial(contenders.races_with, group=group, number=number))
        trials = [stored.trial for stored in _numbered(store, {*raced, *known}).values()]
        comparison = with_baseline(decision.trial, trials)
        speedup = comparison.speedup if comparison and comparison.rounds else None
        reason = "the best of the search by these rules, chosen without measuring"
        chosen.append(Winner(known[number], speedup, rules, reason))
    return chosen


def _decided(
    store: Store, study: Asked, numbers: Sequence[int], known: Mapping[int, StoredTrial]
) -> Winner | None:
    rules = _rules(study)
    winner = _winner(
        [known[number] for number in numbers if number in known], study.study_id, rules
    )
    if winner is not None and winner.is_raced:
        return winner
    # A race that says nothing, such as one that was interrupted, leaves it to the one before.
    for race in store.read(partial(contenders.races, study_id=study.study_id))[1:]:
        its = store.read(partial(_of_race, study=study, race=race))
        winner = _winner(list(_numbered(store, its).values()), study.study_id, rules)
        if winner is not None and winner.is_raced:
            return winner
    its = store.read(partial(_of_search, study=study))
    return _winner(list(_numbered(store, its).values()), study.study_id, rules)


def _last_race(reader: Reader, study: Asked) -> list[int]:
    races = contenders.races(reader, study.study_id)
    return _of_race(reader, study, races[0]) if races else []


def _of_race(reader: Reader, study: Asked, race: str) -> list[int]:
    return contenders.of_race(reader, study.group, race, study.budget)


def _of_search(reader: Reader, study: Asked) -> list[int]:
    return _best_numbers(reader, study.group, _rules(study))


def _best_numbers(reader: Reader, group: Group, rules: Rules) -> list[int]:
    """The best of the search by the rules, and the baseline, which some objectives need."""
    found = contenders.contenders(reader, group, rules.budget)
    baseline = next((each for each in found if each.choices == "{}"), None)
    numbers = {baseline.number, baseline.barred_by or baseline.number} if baseline else set()
    for each in sorted(found, key=lambda each: _value(rules.objective, each)):
        if each.barred_by is None and _admits(rules, each, baseline):
            numbers.add(each.number)
            break
    return sorted(numbers)


def _value(objective: Objective, each: Contender) -> float:
    """What ``Objective.value`` gives of the trial's measurement."""
    if objective.name == "memory":
        return float(each.peak_bytes)
    if objective.images is not None:
        calls = -(-objective.images // objective.batch_size)
        return each.start_up_s + (calls - 1) * each.latency_s
    return each.latency_s


def _admits(rules: Rules, each: Contender, baseline: Contender | None) -> bool:
    is_slower = baseline is not None and each.latency_s > NO_WORSE * baseline.latency_s
    if rules.objective.name == "memory" and is_slower:
        return False
    return rules.admits(Config(json.loads(each.choices)))


def _numbered(store: Store, numbers: Collection[int]) -> dict[int, StoredTrial]:
    found = store.numbered(sorted(numbers))
    return {check_whole(stored.trial).number: stored for stored in found}


def _rules(study: Asked) -> Rules:
    objective = _objective(study.objective, f"study {study.study_id}")
    return Rules(study.budget, objective, study.choices)


def rules_of(stored: StoredTrial) -> Rules:
    """The rules of the trial's study; raises StoreError where the objective is none."""
    subject = f"the study of trial {stored.trial.number}"
    objective = _objective(stored.objective or "latency", subject)
    return Rules(stored.trial.budget, objective, stored.choices)


def _objective(text: str, subject: str) -> Objective:
    try:
        return Objective.parse(text)
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"{subject} has an objective that is none, {short(text)}: put back a copy of the store"
        ) from error


def _winner(group: Sequence[StoredTrial], study_id: int | None, rules: Rules) -> Winner | None:
    decision = decide(rules, study_id, [stored.trial for stored in group])
    if decision is None:
        return None
    stored = {candidate.trial.number: candidate for candidate in group}[decision.trial.number]
    return Winner(
        stored,
        decision.speedup,
        rules,
        decision.reason,
        decision.trials_of_winner,
        decision.spoiled,
    )
