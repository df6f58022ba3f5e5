"""Why a search proposed a trial, and what it expected, is kept with the trial."""

from sqlalchemy import Connection

revision = "m009_proposal"
down_revision = "m008_names"

TABLE = """
CREATE TABLE proposal (
    trial_number INTEGER NOT NULL,
    reason TEXT NOT NULL,
    speedup DOUBLE PRECISION,
    low DOUBLE PRECISION,
    high DOUBLE PRECISION,
    peak_ratio DOUBLE PRECISION,
    peak_low DOUBLE PRECISION,
    peak_high DOUBLE PRECISION,
    feasible DOUBLE PRECISION,
    cost_s DOUBLE PRECISION,
    CONSTRAINT pk_proposal PRIMARY KEY (trial_number),
    CONSTRAINT fk_proposal_trial_number FOREIGN KEY (trial_number) REFERENCES trial (number)
)
"""


def upgrade(connection: Connection) -> None:
    """Make the table; older trials have no proposal."""
    connection.exec_driver_sql(TABLE)
