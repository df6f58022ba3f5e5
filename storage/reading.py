"""Read trials: whole, in number order, in a fixed number of queries."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, select

from storage.place import Place
from storage.rows import PARTS, Parts, StoredTrial, stored_trial
from storage.schema import config, machine, software, study, trial, workload

TRIALS = (
    trial.join(study, trial.c.study_id == study.c.id)
    .join(config, trial.c.config_id == config.c.id)
    .join(machine, study.c.machine_id == machine.c.id)
    .join(software, study.c.software_id == software.c.id)
    .join(workload, study.c.workload_id == workload.c.id)
)
COLUMNS = (
    trial.c.number,
    trial.c.purpose,
    trial.c.started_at,
    trial.c.cost_s,
    trial.c.race,
    trial.c.round,
    trial.c.images,
    trial.c.incumbent,
    study.c.id.label("study_id"),
    study.c.space,
    study.c.memory_bytes,
    study.c.host_memory_bytes,
    study.c.quality,
    study.c.objective,
    config.c.choices,
    machine.c.facts.label("machine_facts"),
    software.c.versions,
    workload.c.model,
    workload.c.facts.label("workload_facts"),
)


def read_trials(
    connection: Connection, conditions: list[ColumnElement[bool]], place: Place
) -> list[StoredTrial]:
    """The trials for which every condition holds; raises StoreError if one cannot be read."""
    trial_rows = select(*COLUMNS).select_from(TRIALS).where(*conditions).order_by(trial.c.number)
    numbers = select(trial.c.number).select_from(TRIALS).where(*conditions)
    rows = connection.execute(trial_rows).mappings().all()
    parts = Parts()
    for table in PARTS:
        part_rows = select(table).where(table.c.trial_number.in_(numbers))
        parts.add(table, connection.execute(part_rows.order_by(*table.primary_key)).mappings())
    return [stored_trial(row, parts, place) for row in rows]
