"""What the speed probe of the processor found is called so."""

from sqlalchemy import Connection, text

revision = "m008_names"
down_revision = "m007_turns"

NAMES = {
    "pace_s": "probe_s",
    "best_pace_s": "best_probe_s",
    "pace_within_s": "probe_within_s",
    "best_pace_within_s": "best_probe_within_s",
}


def upgrade(connection: Connection) -> None:
    """Rename the kinds of conditions."""
    rename = text("UPDATE condition SET kind = :after WHERE kind = :before")
    for before, after in NAMES.items():
        connection.execute(rename, {"before": before, "after": after})
