"""The winner of each study in the store, decided anew from its trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from reprlib import repr as short
from typing import Any

from search_space.budget import Budget
from search_space.errors import StoreError
from search_space.trial import Trial
from storage import StoredTrial
from tuner.race.additive_model import Interval
from tuner.race.decision import decide
from tuner.records.figures import raced_figures
from tuner.records.objective import Objective
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


def rules_of(stored: StoredTrial) -> Rules:
    """The rules of the trial's study; raises StoreError where the objective is none."""
    try:
        objective = Objective.parse(stored.objective or "latency")
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"the study of trial {stored.trial.number} has an objective that is none, "
            f"{short(stored.objective)}: put back a copy of the store"
        ) from error
    return Rules(stored.trial.budget, objective, stored.choices)


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
