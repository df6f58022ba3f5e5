"""A trial bears a token, by which an insert that is made again is not a second trial."""

from sqlalchemy import Connection

revision = "m011_token"
down_revision = "m010_incumbent"


def upgrade(connection: Connection) -> None:
    """Add the column; trials of before have none."""
    connection.exec_driver_sql("ALTER TABLE trial ADD COLUMN token TEXT")
    connection.exec_driver_sql("CREATE UNIQUE INDEX ix_trial_token ON trial (token)")
