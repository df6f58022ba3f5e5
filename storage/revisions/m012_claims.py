"""Runs that share a store claim what they measure, so that nothing is measured twice."""

from sqlalchemy import Connection

revision = "m012_claims"
down_revision = "m011_token"

TABLE = """
CREATE TABLE claim (
    subject TEXT NOT NULL,
    token TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    beat_at TEXT NOT NULL,
    CONSTRAINT pk_claim PRIMARY KEY (subject)
)
"""


def upgrade(connection: Connection) -> None:
    """Make the table."""
    connection.exec_driver_sql(TABLE)
