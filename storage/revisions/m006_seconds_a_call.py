"""Samples are seconds a call, as they were read, and each trial says how many images a call made.

Where seconds an image were asked for, the samples that count and the work were divided by them.
"""

import json

from sqlalchemy import Connection, text

revision = "m006_seconds_a_call"
down_revision = "m005_race"

MEASURED = """
SELECT trial.number, workload.facts, config.choices
FROM trial
JOIN study ON study.id = trial.study_id
JOIN workload ON workload.id = study.workload_id
JOIN config ON config.id = trial.config_id
WHERE NOT EXISTS (SELECT 1 FROM failure WHERE failure.trial_number = trial.number)
"""
UNDIVIDED = (
    """UPDATE sample SET seconds = seconds * :images
    WHERE trial_number = :number AND kind IN ('steady', 'disturbed')""",
    """UPDATE work SET value = value * :images
    WHERE trial_number = :number AND metric IN ('flops', 'weights_read')""",
)


def upgrade(connection: Connection) -> None:
    """Multiply what was divided."""
    connection.exec_driver_sql("ALTER TABLE trial ADD COLUMN images INTEGER")
    for number, facts, choices in connection.execute(text(MEASURED)).all():
        workload = json.loads(facts)
        batch = json.loads(choices).get("batch", "as-asked")
        times = int(batch.removeprefix("times-")) if batch.startswith("times-") else 1
        values = {"number": number, "images": workload["batch_size"] * times}
        connection.execute(text("UPDATE trial SET images = :images WHERE number = :number"), values)
        for statement in UNDIVIDED if workload.get("throughput") else ():
            connection.execute(text(statement), values)
