"""The ledger: every trial and its outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, func, insert, select

from search_space.budget import Budget
from search_space.errors import StoreError, UsageError
from search_space.hardware.machine import Machine
from search_space.identity import canonical_json, fingerprint
from search_space.trial import Trial
from search_space.workload import Workload
from storage import schema
from storage.engine import transaction
from storage.explain import explained
from storage.figures import keep_figures
from storage.opening import open_to_read, open_to_write
from storage.patience import patiently
from storage.place import Place
from storage.reading import TRIALS, read_trials, readable
from storage.rows import (
    StoredTrial,
    budget_of,
    config_values,
    machine_of,
    machine_values,
    part_values,
    software_values,
    trial_values,
    workload_values,
)
from storage.transfer import Merged, delete_trials, merge
from storage.writing import identify, insert_once, rename

T = TypeVar("T")


class Store:
    """Every trial ever run, in one database; each method raises StoreError if that fails.

    ``url`` is SQLAlchemy's (``sqlite:///history.db``, ``sqlite://`` for memory, ``postgresql://…``)
    or a bare file name. With ``read_only`` nothing is written and nothing is created. An older
    store is brought up to date; ``backup`` is then the copy that was made of its file before.
    What fails for a passing reason, such as a full disk, is tried again for ``patience_s``.
    """

    def __init__(self, url: str, read_only: bool = False, patience_s: float = 0.0) -> None:
        self._place = Place.parse(url)
        self._patience_s = patience_s
        self._read_only = read_only or self._place.forbids_writing
        open_engine = open_to_read if self._read_only else open_to_write
        with explained(self._place):
            opened = open_engine(self._place)
        self._engine, self.backup = opened.engine, opened.backup

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._engine.dispose()

    def open_study(
        self,
        machine: Machine,
        workload: Workload,
        budget: Budget,
        space: Mapping[str, Sequence[str]],
        objective: str | None = None,
    ) -> int:
        """The id of the study of exactly these; a new one the first time, then the same.

        An ``objective`` of None is the latency.
        """
        identity: dict[str, Any] = {
            "machine": machine.fingerprint,
            "software": machine.software_fingerprint,
            "workload": workload.fingerprint,
            "memory_bytes": budget.memory_bytes,
            "space": {knob: list(choices) for knob, choices in space.items()},
        }
        # These came later: without them the studies of before keep their identity.
        if budget.host_bytes is not None:
            identity["host_memory_bytes"] = budget.host_bytes
        if budget.quality is not None:
            identity["quality"] = budget.quality.value
        if objective is not None:
            identity["objective"] = objective

        def identified(connection: Connection) -> int:
            workload_id = identify(connection, schema.workload, workload_values(workload))
            rename(connection, workload_id, workload.model)
            values = {
                "fingerprint": fingerprint(identity),
                "machine_id": identify(connection, schema.machine, machine_values(machine)),
                "software_id": identify(connection, schema.software, software_values(machine)),
                "workload_id": workload_id,
                "memory_bytes": budget.memory_bytes,
                "host_memory_bytes": budget.host_bytes,
                "quality": identity.get("quality"),
                "objective": objective,
                "space": canonical_json(identity["space"]),
                "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            return identify(connection, schema.study, values)

        return self.write(identified)

    def add(self, study_id: int, trial: Trial) -> Trial:
        """Add a trial, whole or not at all, and once; returns it with its number and budget."""
        # A commit whose answer is lost may have succeeded: the next attempt finds the token.
        token = uuid4().hex

        def added(connection: Connection) -> Trial:
            budget = self._budget(connection, study_id)
            config_id = identify(connection, schema.config, config_values(trial))
            row = trial_values(trial) | {"study_id": study_id, "config_id": config_id}
            number, is_new = insert_once(connection, row | {"token": token})
            stored = replace(trial, number=number, study_id=study_id, budget=budget)
            if is_new:
                for table, rows in part_values(stored):
                    connection.execute(insert(table), rows)
                keep_figures(connection, stored)
            return stored

        return self.write(added)

    def of_workload(self, machine: Machine, workload: Workload) -> list[Trial]:
        """Every trial of this hardware, software and workload, within whatever budget and space."""
        conditions = [
            schema.machine.c.fingerprint == machine.fingerprint,
            schema.software.c.fingerprint == machine.software_fingerprint,
            schema.workload.c.fingerprint == workload.fingerprint,
        ]
        return [stored.trial for stored in self._read(conditions)]

    def elsewhere(self, machine: Machine, workload: Workload) -> list[tuple[Machine, int]]:
        """Other machines or versions that have trials of the workload, and how many each."""
        facts, versions = schema.machine.c.facts, schema.software.c.versions
        is_this_machine = (schema.machine.c.fingerprint == machine.fingerprint) & (
            schema.software.c.fingerprint == machine.software_fingerprint
        )
        query = (
            select(facts.label("machine_facts"), versions, func.count().label("trials"))
            .select_from(TRIALS)
            .where(schema.workload.c.fingerprint == workload.fingerprint, ~is_this_machine)
            .group_by(facts, versions)
            .order_by(func.max(schema.trial.c.number))
        )
        rows = self._transact(lambda connection: connection.execute(query).mappings().all())
        with readable("a machine", self._place):
            return [(machine_of(row), row["trials"]) for row in rows]

    def of_device(self, device: str, most: int) -> list[StoredTrial]:
        """The latest trials on machines with this kind of device, in number order."""
        of_kind = schema.machine.c.device == device
        latest = (
            select(schema.trial.c.number)
            .select_from(TRIALS)
            .where(of_kind)
            .order_by(schema.trial.c.number.desc())
            .limit(most)
        )
        return self._read([schema.trial.c.number.in_(latest)])

    def trials(self, model: str | None = None, study_id: int | None = None) -> list[StoredTrial]:
        """Every trial, or those of one model or one study, in number order."""
        conditions: list[ColumnElement[bool]] = []
        if model is not None:
            conditions.append(schema.workload.c.model == model)
        if study_id is not None:
            conditions.append(schema.study.c.id == study_id)
        return self._read(conditions)

    def trial(self, number: int) -> StoredTrial:
        """One trial; raises UsageError if there is none of this number."""
        for stored in self._read([schema.trial.c.number == number]):
            return stored
        raise UsageError(f"no trial {number} in {self._place}: list them with 'tune trials'")

    def _budget(self, connection: Connection, study_id: int) -> Budget:
        columns = schema.study.c
        limits = (columns.memory_bytes, columns.host_memory_bytes, columns.quality)
        query = select(*limits).where(columns.id == study_id)
        row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise StoreError(f"no study {study_id} in {self._place}: open it before adding trials")
        return budget_of(row)

    def _read(self, conditions: list[ColumnElement[bool]]) -> list[StoredTrial]:
        # One transaction, so that a trial which is added meanwhile is seen whole or not at all.
        return self._transact(lambda connection: read_trials(connection, conditions, self._place))

    def numbered(self, numbers: Sequence[int]) -> list[StoredTrial]:
        """The trials of these numbers, in number order."""
        return self._read([schema.trial.c.number.in_(numbers)])

    def read(self, work: Callable[[Connection], T]) -> T:
        """What the work reads, all of it as of one moment."""
        return self._transact(work)

    def delete(self, numbers: Sequence[int]) -> int:
        """Delete trials with all that is of them; returns how many there were."""
        return self.write(lambda connection: delete_trials(connection, self._place, numbers))

    def merge(self, other: Store) -> Merged:
        """Copy from another store what this one lacks; done again it changes nothing."""
        return other.read(
            lambda source: self.write(lambda target: merge(source, target, self._place))
        )

    @property
    def place(self) -> str:
        """Where it is, as a user is shown it: without a password."""
        return str(self._place)

    @property
    def is_shared(self) -> bool:
        """Whether another process may have it open, too: not one in memory."""
        return not self._place.is_sqlite or self._place.file is not None

    def write(self, work: Callable[[Connection], T], patient: bool = True) -> T:
        """What the work gives, whose writing happens whole or not at all; it may be made again."""
        if self._read_only:
            raise StoreError(f"{self._place} was opened for reading only: open it for writing")
        return self._transact(work, writing=True, patient=patient)

    def _transact(
        self, work: Callable[[Connection], T], writing: bool = False, patient: bool = True
    ) -> T:
        def attempt() -> T:
            with transaction(self._engine, writing) as connection:
                return work(connection)

        with explained(self._place):
            return patiently(attempt, self._patience_s if patient else 0.0)
