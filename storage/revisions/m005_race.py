"""What a study minimizes; which trials were measured in turns."""

from sqlalchemy import Connection

revision = "m005_race"
down_revision = "m004_conditions"


def upgrade(connection: Connection) -> None:
    """Older trials have none of these."""
    for column in ("study ADD COLUMN objective TEXT", "trial ADD COLUMN race TEXT"):
        connection.exec_driver_sql(f"ALTER TABLE {column}")
    connection.exec_driver_sql("ALTER TABLE trial ADD COLUMN round INTEGER")
