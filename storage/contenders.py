"""The few trials by which the winner of a study is decided, found without reading the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, false, func, literal, or_, select

from search_space.budget import Budget
from search_space.trial import OUT_OF_MEMORY, FailureKind, Purpose
from storage.schema import config, figures, study, trial
from storage.summary import SUMMARY, Filter

JOINED = trial.join(study, study.c.id == trial.c.study_id).join(
    figures, figures.c.trial_number == trial.c.number
)
KEYS = ("machine_id", "software_id", "workload_id")
SEARCHED = trial.c.purpose.in_([Purpose.BASELINE.value, Purpose.SEARCH.value])


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


def groups(connection: Connection, filters: Sequence[Filter]) -> list[tuple[Group, list[int]]]:
    """Each group with its studies, as far as they have trials for which the filters hold."""
    view = SUMMARY.c
    keys = (view.machine, view.software, view.workload)
    query = select(*keys, view.study, func.min(view.number)).group_by(*keys, view.study)
    rows = connection.execute(query.where(*(each.condition for each in filters))).all()
    found: dict[Group, list[int]] = {}
    for *key, study_id, _ in sorted(rows, key=lambda row: row[-1]):
        found.setdefault(Group(*key), []).append(study_id)
    return list(found.items())


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
        .where(group.condition, measured, trial.c.config_id.in_(configs))
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
        query = query.where(trial.c.config_id.in_(configs))
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
