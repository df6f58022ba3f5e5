"""How a store of any earlier version becomes one of this version.

A change of the schema is one function at the end of this file. The names of the applied ones are
rows of ``autotune_migration``, so a new and an old store take one path.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, inspect, select

from search_space.errors import StoreError
from storage.place import Place
from storage.schema import autotune_migration

Migration = Callable[[Connection], None]

MIGRATIONS: list[Migration] = []


def migration(change: Migration) -> Migration:
    """Append a change of the schema; its name must never change again."""
    MIGRATIONS.append(change)
    return change


def missing_migrations(connection: Connection, place: Place) -> list[Migration]:
    """What the store lacks, all of it when it is new; raises StoreError if it is not ours."""
    tables = inspect(connection).get_table_names()
    if tables and autotune_migration.name not in tables:
        raise StoreError(f"{place} holds tables that are not ours: give another {place.noun}")
    applied = set(connection.scalars(select(autotune_migration.c.name))) if tables else set()
    unknown = applied - {change.__name__ for change in MIGRATIONS}
    if unknown:
        raise StoreError(
            f"{place} was written by a newer version (it has {', '.join(sorted(unknown))}): "
            "run 'pip install --upgrade diffusers-autotune'"
        )
    return [change for change in MIGRATIONS if change.__name__ not in applied]


def migrate(connection: Connection, place: Place) -> None:
    """Apply what is missing, in the transaction of the caller; raises StoreError."""
    missing = missing_migrations(connection, place)
    autotune_migration.create(connection, checkfirst=True)
    for change in missing:
        change(connection)
        applied_at = datetime.now(UTC).isoformat(timespec="seconds")
        row = {"name": change.__name__, "applied_at": applied_at}
        connection.execute(insert(autotune_migration), row)


# The statements are written out rather than taken from storage/schema.py: that describes the
# newest version, and a first migration which followed it would leave nothing for a second to add.
FIRST_TABLES = """
CREATE TABLE machine (
    id INTEGER CONSTRAINT pk_machine PRIMARY KEY {counted},
    fingerprint TEXT NOT NULL,
    device TEXT NOT NULL,
    device_name TEXT NOT NULL,
    facts TEXT NOT NULL,
    CONSTRAINT uq_machine_fingerprint UNIQUE (fingerprint)
);
CREATE TABLE software (
    id INTEGER CONSTRAINT pk_software PRIMARY KEY {counted},
    fingerprint TEXT NOT NULL,
    versions TEXT NOT NULL,
    CONSTRAINT uq_software_fingerprint UNIQUE (fingerprint)
);
CREATE TABLE workload (
    id INTEGER CONSTRAINT pk_workload PRIMARY KEY {counted},
    fingerprint TEXT NOT NULL,
    model TEXT NOT NULL,
    facts TEXT NOT NULL,
    CONSTRAINT uq_workload_fingerprint UNIQUE (fingerprint)
);
CREATE INDEX ix_workload_model ON workload (model);
CREATE TABLE study (
    id INTEGER CONSTRAINT pk_study PRIMARY KEY {counted},
    fingerprint TEXT NOT NULL,
    machine_id INTEGER NOT NULL,
    software_id INTEGER NOT NULL,
    workload_id INTEGER NOT NULL,
    memory_bytes BIGINT,
    space TEXT NOT NULL,
    created_at TEXT NOT NULL,
    CONSTRAINT uq_study_fingerprint UNIQUE (fingerprint),
    CONSTRAINT fk_study_machine_id FOREIGN KEY (machine_id) REFERENCES machine (id),
    CONSTRAINT fk_study_software_id FOREIGN KEY (software_id) REFERENCES software (id),
    CONSTRAINT fk_study_workload_id FOREIGN KEY (workload_id) REFERENCES workload (id)
);
CREATE INDEX ix_study_machine_id ON study (machine_id);
CREATE INDEX ix_study_software_id ON study (software_id);
CREATE INDEX ix_study_workload_id ON study (workload_id);
CREATE TABLE config (
    id INTEGER CONSTRAINT pk_config PRIMARY KEY {counted},
    fingerprint TEXT NOT NULL,
    choices TEXT NOT NULL,
    CONSTRAINT uq_config_fingerprint UNIQUE (fingerprint)
);
CREATE TABLE trial (
    number INTEGER CONSTRAINT pk_trial PRIMARY KEY {counted},
    study_id INTEGER NOT NULL,
    config_id INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    started_at TEXT NOT NULL,
    cost_s DOUBLE PRECISION NOT NULL,
    CONSTRAINT fk_trial_study_id FOREIGN KEY (study_id) REFERENCES study (id),
    CONSTRAINT fk_trial_config_id FOREIGN KEY (config_id) REFERENCES config (id)
);
CREATE INDEX ix_trial_study_id ON trial (study_id);
CREATE INDEX ix_trial_config_id ON trial (config_id);
CREATE TABLE sample (
    trial_number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    position INTEGER NOT NULL,
    seconds DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_sample PRIMARY KEY (trial_number, kind, position),
    CONSTRAINT fk_sample_trial_number FOREIGN KEY (trial_number) REFERENCES trial (number)
);
CREATE TABLE memory (
    trial_number INTEGER NOT NULL,
    position INTEGER NOT NULL,
    place TEXT NOT NULL,
    phase TEXT NOT NULL,
    source TEXT NOT NULL,
    peak_bytes BIGINT NOT NULL,
    CONSTRAINT pk_memory PRIMARY KEY (trial_number, position),
    CONSTRAINT fk_memory_trial_number FOREIGN KEY (trial_number) REFERENCES trial (number)
);
CREATE TABLE fidelity (
    trial_number INTEGER NOT NULL,
    metric TEXT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_fidelity PRIMARY KEY (trial_number, metric),
    CONSTRAINT fk_fidelity_trial_number FOREIGN KEY (trial_number) REFERENCES trial (number)
);
CREATE TABLE failure (
    trial_number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    phase TEXT NOT NULL,
    message TEXT NOT NULL,
    log TEXT NOT NULL,
    peak_bytes BIGINT,
    CONSTRAINT pk_failure PRIMARY KEY (trial_number),
    CONSTRAINT fk_failure_trial_number FOREIGN KEY (trial_number) REFERENCES trial (number)
)
"""
COUNTED = {"sqlite": "AUTOINCREMENT", "postgresql": "GENERATED BY DEFAULT AS IDENTITY"}


CONDITION_TABLES = """
CREATE TABLE condition (
    trial_number INTEGER NOT NULL,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    sample_kind TEXT NOT NULL,
    sample_position INTEGER NOT NULL,
    complaint TEXT NOT NULL,
    CONSTRAINT pk_condition PRIMARY KEY (trial_number, position),
    CONSTRAINT fk_condition_trial_number FOREIGN KEY (trial_number) REFERENCES trial (number)
);
CREATE TABLE work (
    trial_number INTEGER NOT NULL,
    metric TEXT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_work PRIMARY KEY (trial_number, metric),
    CONSTRAINT fk_work_trial_number FOREIGN KEY (trial_number) REFERENCES trial (number)
)
"""


@migration
def m001_initial(connection: Connection) -> None:
    """The first ten tables."""
    statements = FIRST_TABLES.format(counted=COUNTED[connection.dialect.name])
    for statement in statements.split(";"):
        connection.exec_driver_sql(statement)


@migration
def m002_host_memory(connection: Connection) -> None:
    """The budget of the host beside that of the device."""
    connection.exec_driver_sql("ALTER TABLE study ADD COLUMN host_memory_bytes BIGINT")


@migration
def m003_quality(connection: Connection) -> None:
    """What the user allows is kept, so that a trial is judged by it whenever it is read."""
    connection.exec_driver_sql("ALTER TABLE study ADD COLUMN quality TEXT")


@migration
def m004_conditions(connection: Connection) -> None:
    """What was seen of the machine, and what a call asks of it."""
    for statement in CONDITION_TABLES.split(";"):
        connection.exec_driver_sql(statement)


@migration
def m005_race(connection: Connection) -> None:
    """What a study minimizes; which trials were measured in turns."""
    for column in ("study ADD COLUMN objective TEXT", "trial ADD COLUMN race TEXT"):
        connection.exec_driver_sql(f"ALTER TABLE {column}")
    connection.exec_driver_sql("ALTER TABLE trial ADD COLUMN round INTEGER")
