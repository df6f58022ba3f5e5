"""A trial of a search names the trial whose calls its own were interleaved with."""

from sqlalchemy import Connection

revision = "m010_incumbent"
down_revision = "m009_proposal"


def upgrade(connection: Connection) -> None:
    """Add the column; trials of before were alone."""
    connection.exec_driver_sql("ALTER TABLE trial ADD COLUMN incumbent INTEGER")
