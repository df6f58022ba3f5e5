"""What the user allows is kept: a trial is judged by it whenever it is read."""

from sqlalchemy import Connection

revision = "m003_quality"
down_revision = "m002_host_memory"


def upgrade(connection: Connection) -> None:
    """Older studies have none."""
    connection.exec_driver_sql("ALTER TABLE study ADD COLUMN quality TEXT")
