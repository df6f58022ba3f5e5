"""The few trials by which the winner of a study is decided, found without reading the others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, and_, false, func, literal, or_, select

from search_space.budget import Budget
from search_space.trial import OUT_OF_MEMORY, FailureKind, Purpose
from storage.rows import budget_of
from storage.schema import config, figures, study, trial
from storage.summary import SUMMARY, Filter

JOINED = trial.join(study, study.c.id == trial.c.study_id).join(
    figures, figures.c.trial_number == trial.c.number
)
KEYS = ("machine_id", "software_id", "workload_id")
CONFIG_ID = trial.c.config_id + 0
"""No column of an index: the trials of a group are few beside those of a config in all groups."""

SEARCHED = trial.c.purpose.in_([Purpose.BASELINE.value, Purpose.SEARCH.value])


Reader: TypeAlias = Connection
"""What ``Store.read`` hands to the work that it is given."""


@dataclass(frozen=True)
class Group:
    """All trials of one workload on one machine with its versions."""

    machine_id: int
    software_id: int
    workload_id: int

    @property
    def condition(self) -> ColumnElement[bool]:
        return and_(*(study.c[key] == getattr(self, key) for key in KEYS))


@dataclass(frozen=True)
class Contender:
    """The latest trial of the search of a config; ``barred_by`` has shown it beyond the limits."""

    number: int
    choices: str
    latency_s: float
    start_up_s: float
    peak_bytes: int
    barred_by: int | None


@dataclass(frozen=True)
class Asked:
    """A study and its rules."""

    study_id: int
    group: Group
    budget: Budget
    objective: str
    choices: Mapping[str, Sequence[str]]


def asked(connection: Connection, filters: Sequence[Filter]) -> list[Asked]:
    """The studies that have trials for which the filters hold, those of a group together."""
    view = SUMMARY.c
    own = select(view.study, func.min(view.number).label("first")).group_by(view.study)
    found = own.where(*(each.condition for each in filters)).subquery()
    query = select(study, found.c.first).join(found, found.c.study == study.c.id)
    groups: dict[Group, list[Asked]] = {}
    for row in connection.execute(query.order_by(found.c.first)).mappings():
        group = Group(*(row[key] for key in KEYS))
        objective, choices = row["objective"] or "latency", json.loads(row["space"])
        one = Asked(row["id"], group, budget_of(row), objective, choices)
        groups.setdefault(group, []).append(one)
    return [one for group in groups.values() for one in group]


def races(connection: Connection, study_id: int) -> list[str]:
    """The races of a study, the last first."""
    of_race = (trial.c.study_id == study_id) & (trial.c.purpose == Purpose.RACE.value)
    first = func.min(trial.c.number)
    query = select(trial.c.race).where(of_race, trial.c.race.is_not(None))
    return list(connection.scalars(query.group_by(trial.c.race).order_by(first.desc())))


def of_race(connection: Connection, group: Group, race: str, budget: Budget) -> list[int]:
    """The trials of a race, and those of its entrants by which a race is decided."""
    own = (
        select(trial.c.number, trial.c.config_id)
        .select_from(JOINED)
        .where(group.condition, trial.c.race == race)
    )
    rows = connection.execute(own).all()
    configs = sorted({row.config_id for row in rows})
    numbers = {row.number for row in rows}
    numbers |= set(_witnesses(connection, group, budget, configs).values())
    # The first of each config that was measured, of the search before others.
    measured = figures.c.state != "failed"
    rank = SEARCHED.desc(), trial.c.number
    place = func.row_number().over(partition_by=trial.c.config_id, order_by=rank).label("place")
    ranked = (
        select(trial.c.number, place)
        .select_from(JOINED)
        .where(group.condition, measured, CONFIG_ID.in_(configs))
        .subquery()
    )
    numbers |= set(connection.scalars(select(ranked.c.number).where(ranked.c.place == 1)))
    return sorted(numbers)


def contenders(connection: Connection, group: Group, budget: Budget) -> list[Contender]:
    """The configs of a group that ran in a search."""
    witnesses = _witnesses(connection, group, budget)
    latest = (
        select(func.max(trial.c.number))
        .select_from(JOINED)
        .where(group.condition, SEARCHED)
        .group_by(trial.c.config_id)
    )
    facts = (figures.c.latency_s, figures.c.start_up_s, figures.c.peak_bytes)
    query = (
        select(trial.c.number, trial.c.config_id, config.c.choices, *facts)
        .select_from(JOINED.join(config, config.c.id == trial.c.config_id))
        .where(trial.c.number.in_(latest), figures.c.state != "failed")
        .order_by(trial.c.number)
    )
    rows = connection.execute(query).all()
    return [
        Contender(number, choices, latency_s, start_up_s, peak_bytes, witnesses.get(config_id))
        for number, config_id, choices, latency_s, start_up_s, peak_bytes in rows
        if None not in (latency_s, start_up_s, peak_bytes)
    ]


def races_with(connection: Connection, group: Group, number: int) -> list[int]:
    """The trials of the races in which the config of a trial took part."""
    its = select(trial.c.config_id).where(trial.c.number == number).scalar_subquery()
    names = (
        select(trial.c.race)
        .select_from(JOINED)
        .where(group.condition, trial.c.config_id == its, trial.c.race.is_not(None))
    )
    query = select(trial.c.number).select_from(JOINED)
    return list(connection.scalars(query.where(group.condition, trial.c.race.in_(names))))


def _witnesses(
    connection: Connection, group: Group, budget: Budget, configs: Sequence[int] | None = None
) -> dict[int, int]:
    """Configs that have passed the budget, each with a trial that shows it."""
    query = (
        select(trial.c.config_id, func.min(trial.c.number))
        .select_from(JOINED)
        .where(group.condition, _passes(budget))
        .group_by(trial.c.config_id)
    )
    if configs is not None:
        query = query.where(CONFIG_ID.in_(configs))
    return {config_id: number for config_id, number in connection.execute(query)}


def _passes(budget: Budget) -> ColumnElement[bool]:
    """What ``Trial.exceeds`` or, of a measured trial, ``Trial.judged`` say, in SQL."""
    own, failed = figures.c, figures.c.state == "failed"
    beyond: list[ColumnElement[bool]] = [false()]
    if budget.memory_bytes is not None:
        beyond.append(own.peak_bytes > budget.memory_bytes)
    if budget.host_bytes is not None:
        beyond.append(own.host_peak_bytes > budget.host_bytes)
    if budget.quality is not None:
        beyond.append(~_words(own.allowed).contains(f",{budget.quality.value},"))
    # What ran out of memory says something about budgets that allow no more.
    covers = [
        (limit.is_(None)) if asked is None else or_(limit.is_(None), limit >= asked)
        for limit, asked in (
            (study.c.memory_bytes, budget.memory_bytes),
            (study.c.host_memory_bytes, budget.host_bytes),
        )
    ]
    kinds = [kind.value for kind in OUT_OF_MEMORY]
    ran_out = own.failure == FailureKind.OVER_MEMORY.value
    ran_out |= and_(own.failure.in_(kinds), *covers)
    return or_(and_(~failed, or_(*beyond)), and_(failed, ran_out))


def _words(text: Any) -> Any:
    return literal(",") + text + literal(",")
