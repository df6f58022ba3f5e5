"""What was seen of the machine, and what a call asks of it."""

from sqlalchemy import Connection

revision = "m004_conditions"
down_revision = "m003_quality"

TABLES = """
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


def upgrade(connection: Connection) -> None:
    """Create the two tables."""
    for statement in TABLES.split(";"):
        connection.exec_driver_sql(statement)
