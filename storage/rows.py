"""Records as rows, and rows as records."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar, get_type_hints

from sqlalchemy import RowMapping, Table

from search_space.budget import Budget
from search_space.config import Config
from search_space.foreign import typed
from search_space.hardware.machine import Machine
from search_space.identity import canonical_json, fingerprint
from search_space.knob import Tier
from search_space.proposal import Expectation, Proposal, Reason
from search_space.trial import Condition, Failure, FailureKind, Measurement, Peak, Purpose, Trial
from search_space.workload import Workload
from storage.schema import condition, failure, fidelity, memory, proposal, sample, work

T = TypeVar("T")
Values = dict[str, Any]
PARTS = (sample, memory, fidelity, condition, work, failure, proposal)
"""The tables that hold the outcome of a trial, and why it was proposed."""


FEW = 64
"""Machines and workloads kept from one trial to the next: trials read together have fewer."""

HINTS: Mapping[type, Mapping[str, Any]] = {
    each: get_type_hints(each) for each in (Machine, Workload)
}

WORKLOAD_COLUMNS = ("height_px", "width_px", "num_frames", "steps", "batch_size")
"""Facts of a workload that have a column of their own, to be searched by."""


@dataclass(frozen=True)
class StoredTrial:
    """A trial with its machine, its workload and its study's rules.

    The machine is what the store keeps of it: hardware and versions, not the probes.
    """

    trial: Trial
    machine: Machine
    workload: Workload
    objective: str | None = None
    choices: Mapping[str, Sequence[str]] | None = None
    """The space of its study: knob to choices; pins leave one."""

    def same_as(self, machine: Machine, workload: Workload) -> bool:
        """Whether it is a trial of this workload on this machine with these versions."""
        return (
            self.machine.fingerprint == machine.fingerprint
            and self.machine.software_fingerprint == machine.software_fingerprint
            and self.workload.fingerprint == workload.fingerprint
        )


def machine_values(machine: Machine) -> Values:
    return {
        "fingerprint": machine.fingerprint,
        "device": machine.device,
        "device_name": machine.device_name,
        "facts": canonical_json(machine.hardware),
    }


def software_values(machine: Machine) -> Values:
    versions = canonical_json(dict(machine.packages))
    return {"fingerprint": machine.software_fingerprint, "versions": versions}


def workload_values(workload: Workload) -> Values:
    """The row of the workload; the model's name is no part of its facts."""
    facts = asdict(workload)
    model = facts.pop("model")
    identity = {"fingerprint": workload.fingerprint, "model": model, "facts": canonical_json(facts)}
    return identity | {name: facts[name] for name in WORKLOAD_COLUMNS}


def config_values(trial: Trial) -> Values:
    """The row of the config, whose identity is what it changes."""
    choices = trial.config.changes
    return {"fingerprint": fingerprint(choices), "choices": canonical_json(choices)}


def trial_values(trial: Trial) -> Values:
    """The columns of the trial's own row."""
    names = ("purpose", "started_at", "cost_s", "race", "round", "incumbent")
    images = trial.measurement.images if trial.measurement else None
    return {name: getattr(trial, name) for name in names} | {"images": images}


def part_values(trial: Trial) -> list[tuple[Table, list[Values]]]:
    """The rows of the trial, for each of PARTS that has any."""
    proposed = _proposal_values(trial.proposal) if trial.proposal else None
    own = [(proposal, [{"trial_number": trial.number} | proposed])] if proposed else []
    return _outcome_values(trial) + own


def _proposal_values(proposed: Proposal) -> Values:
    expected = asdict(proposed.expected) if proposed.expected else {}
    return {"reason": proposed.reason.value, **expected}


def _outcome_values(trial: Trial) -> list[tuple[Table, list[Values]]]:
    outcome, of_trial = trial.outcome, {"trial_number": trial.number}
    conditions = [
        of_trial | {"position": i} | _condition_values(c) for i, c in enumerate(outcome.conditions)
    ]
    if isinstance(outcome, Failure):
        facts = asdict(outcome) | {"kind": outcome.kind.value}
        del facts["conditions"]
        parts = [(failure, [of_trial | facts]), (condition, conditions)]
        return [(table, rows) for table, rows in parts if rows]
    samples = [
        of_trial | {"kind": kind, "position": position, "seconds": seconds, "turn": turn}
        for kind, series in outcome.seconds.items()
        for position, (seconds, turn) in enumerate(
            zip(series, outcome.turns.get(kind, [None] * len(series)), strict=True)
        )
    ]
    peaks = [of_trial | {"position": i} | asdict(peak) for i, peak in enumerate(outcome.peaks)]
    fidelities = [
        of_trial | {"metric": metric, "value": value} for metric, value in outcome.fidelity.items()
    ]
    figures = [of_trial | {"metric": name, "value": value} for name, value in outcome.work.items()]
    parts = [(sample, samples), (memory, peaks), (fidelity, fidelities), (work, figures)]
    parts.append((condition, conditions))
    return [(table, rows) for table, rows in parts if rows]


def _condition_values(condition: Condition) -> Values:
    facts = asdict(condition)
    return facts | {"sample_kind": facts.pop("sample"), "sample_position": facts.pop("position")}


class Parts:
    """The rows of many trials' outcomes, in order, by table and trial number."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, int], list[RowMapping]] = defaultdict(list)

    def add(self, table: Table, row: RowMapping) -> None:
        self._rows[table.name, row["trial_number"]].append(row)

    def outcome(self, number: int, images: int, counted: int) -> Measurement | Failure:
        """The outcome of one trial, each call of which made so many images."""
        conditions = tuple(_condition(row) for row in self._of(condition, number))
        for row in self._of(failure, number):
            kind, message, log = FailureKind(row["kind"]), row["message"], row["log"]
            return Failure(kind, message, row["phase"], log, row["peak_bytes"], conditions)
        samples: dict[str, list[float]] = defaultdict(list)
        numbers: dict[str, list[int]] = defaultdict(list)
        for row in self._of(sample, number):
            samples[row["kind"]].append(row["seconds"])
            if row["turn"] is not None:
                numbers[row["kind"]].append(row["turn"])
        seconds = {kind: tuple(series) for kind, series in samples.items()}
        turns = {kind: tuple(series) for kind, series in numbers.items()}
        peaks = tuple(_peak(row) for row in self._of(memory, number))
        metrics = {row["metric"]: row["value"] for row in self._of(fidelity, number)}
        figures = {row["metric"]: row["value"] for row in self._of(work, number)}
        return Measurement(seconds, peaks, metrics, conditions, figures, images, counted, turns)

    def proposal(self, number: int, config: Config) -> Proposal | None:
        """Why a search proposed the config, if one did."""
        for row in self._of(proposal, number):
            names = [field.name for field in fields(Expectation)]
            known = row["speedup"] is not None
            expected = Expectation(**{name: row[name] for name in names}) if known else None
            return Proposal(config, Reason(row["reason"]), expected)
        return None

    def _of(self, table: Table, number: int) -> list[RowMapping]:
        return self._rows.get((table.name, number), [])


def stored_trial(row: RowMapping, parts: Parts) -> StoredTrial:
    """The trial of one row; raises what Python raises where facts are of another kind."""
    workload = _workload(row["model"], row["workload_facts"])
    trial = _trial(row, parts, workload)
    return StoredTrial(trial, machine_of(row), workload, row["objective"], _space(row["space"]))


def _made(kind: type[T], facts: Mapping[str, Any]) -> T:
    # Not within the limits of today: an earlier version may have taken more.
    hints = HINTS[kind]
    return kind(**{name: typed(hints[name], value, name) for name, value in facts.items()})


def budget_of(row: Mapping[Any, Any]) -> Budget:
    """The budget in the row of a study."""
    quality = None if row["quality"] is None else Tier(row["quality"])
    return Budget(row["memory_bytes"], row["host_memory_bytes"], quality)


def _peak(row: RowMapping) -> Peak:
    return Peak(row["place"], row["phase"], row["source"], row["peak_bytes"])


def _condition(row: RowMapping) -> Condition:
    values = (row["kind"], row["value"], row["complaint"])
    return Condition(*values, row["sample_kind"], row["sample_position"])


def machine_of(row: RowMapping) -> Machine:
    """The machine as the store has it: hardware and versions, without probes."""
    return _machine(row["machine_facts"], row["versions"])


# Thousands of trials have these in common, which are not changed by anybody.
@lru_cache(maxsize=FEW)
def _machine(facts: str, versions: str) -> Machine:
    return _made(Machine, {**json.loads(facts), "packages": json.loads(versions)})


@lru_cache(maxsize=FEW)
def _workload(model: str, facts: str) -> Workload:
    return _made(Workload, {"model": model, **json.loads(facts)})


@lru_cache(maxsize=FEW)
def _space(choices: str) -> Mapping[str, Sequence[str]]:
    space: Mapping[str, Sequence[str]] = typed(
        Mapping[str, Sequence[str]], json.loads(choices), "study.space"
    )
    return space


def _trial(row: RowMapping, parts: Parts, workload: Workload) -> Trial:
    images = row["images"] or 1
    if row["started_at"]:
        datetime.fromisoformat(row["started_at"])
    config = typed(Config, json.loads(row["choices"]), "config.choices")
    return Trial(
        config=config,
        outcome=parts.outcome(row["number"], images, workload.counted(images)),
        cost_s=row["cost_s"],
        started_at=row["started_at"],
        number=row["number"],
        purpose=Purpose(row["purpose"]),
        race=row["race"],
        round=row["round"],
        incumbent=row["incumbent"],
        proposal=parts.proposal(row["number"], config),
        study_id=row["study_id"],
        budget=budget_of(row),
    )
