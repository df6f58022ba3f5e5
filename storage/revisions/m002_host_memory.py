"""The budget of the host beside that of the device."""

from sqlalchemy import Connection

revision = "m002_host_memory"
down_revision = "m001_initial"


def upgrade(connection: Connection) -> None:
    """Older studies have none."""
    connection.exec_driver_sql("ALTER TABLE study ADD COLUMN host_memory_bytes BIGINT")
