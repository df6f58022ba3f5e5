"""What the readings of a trial come to is kept beside them, and two views show trials in one row.

The rows of the new table are not made here but after the last revision, by the code of that version
(``storage.figures``): so a latency is the same wherever it is told. A later version that computes
something otherwise empties the table.
"""

import json
from hashlib import blake2b

from sqlalchemy import Connection, text

revision = "m013_figures"
down_revision = "m012_claims"

TABLE = """
CREATE TABLE figures (
    trial_number INTEGER NOT NULL,
    state TEXT NOT NULL,
    failure TEXT,
    phase TEXT,
    message TEXT,
    latency_s DOUBLE PRECISION,
    start_up_s DOUBLE PRECISION,
    peak_bytes BIGINT,
    host_peak_bytes BIGINT,
    psnr_db DOUBLE PRECISION,
    ssim DOUBLE PRECISION,
    lpips DOUBLE PRECISION,
    tier TEXT,
    allowed TEXT,
    disturbed TEXT,
    unstable TEXT,
    baseline INTEGER,
    CONSTRAINT pk_figures PRIMARY KEY (trial_number),
    CONSTRAINT fk_figures_trial_number FOREIGN KEY (trial_number) REFERENCES trial (number)
)
"""
SUMMARY = """
CREATE VIEW trial_summary AS
SELECT trial.number,
       trial.study_id AS study,
       workload.model,
       workload.height_px AS height,
       workload.width_px AS width,
       workload.steps,
       machine.device_name AS device,
       config.choices AS config,
       figures.state,
       figures.latency_s,
       reference.latency_s / figures.latency_s AS speedup,
       figures.peak_bytes,
       figures.psnr_db,
       figures.tier,
       trial.purpose,
       figures.failure,
       trial.cost_s,
       trial.started_at,
       figures.phase,
       figures.message,
       figures.disturbed,
       figures.unstable,
       figures.host_peak_bytes,
       figures.ssim,
       figures.lpips,
       figures.start_up_s,
       workload.num_frames AS frames,
       workload.batch_size,
       trial.race,
       trial.round,
       figures.baseline,
       study.memory_bytes,
       study.host_memory_bytes,
       study.quality,
       COALESCE(study.objective, 'latency') AS objective,
       machine.device AS device_kind,
       study.machine_id AS machine,
       study.software_id AS software,
       study.workload_id AS workload
FROM trial
JOIN study ON study.id = trial.study_id
JOIN workload ON workload.id = study.workload_id
JOIN machine ON machine.id = study.machine_id
JOIN config ON config.id = trial.config_id
JOIN figures ON figures.trial_number = trial.number
LEFT JOIN figures AS reference ON reference.trial_number = figures.baseline
"""
BEST = """
CREATE VIEW best AS
SELECT * FROM trial_summary
WHERE number IN (
    SELECT number FROM (
        SELECT trial.number,
               row_number() OVER (
                   PARTITION BY trial.study_id ORDER BY figures.latency_s, trial.number
               ) AS place
        FROM trial
        JOIN figures ON figures.trial_number = trial.number
        WHERE figures.state = 'measured' AND trial.purpose IN ('baseline', 'search')
    ) AS ranked
    WHERE place = 1
)
"""
COLUMNS = ("height_px", "width_px", "num_frames", "steps", "batch_size")
WITHOUT_TOKEN = """
SELECT trial.number, study.fingerprint, config.fingerprint, trial.purpose, trial.started_at,
       trial.cost_s, trial.race, trial.round
FROM trial
JOIN study ON study.id = trial.study_id
JOIN config ON config.id = trial.config_id
WHERE trial.token IS NULL
ORDER BY trial.number
"""


def upgrade(connection: Connection) -> None:
    """Make them; facts of the workload get columns, and trials of before a token."""
    for name in COLUMNS:
        connection.exec_driver_sql(f"ALTER TABLE workload ADD COLUMN {name} INTEGER")
    settings = ", ".join(f"{name} = :{name}" for name in COLUMNS)
    for number, facts in connection.execute(text("SELECT id, facts FROM workload")).all():
        values = {name: json.loads(facts).get(name) for name in COLUMNS}
        statement = text(f"UPDATE workload SET {settings} WHERE id = :id")
        connection.execute(statement, values | {"id": number})
    connection.exec_driver_sql(TABLE)
    connection.exec_driver_sql("CREATE INDEX ix_figures_baseline ON figures (baseline)")
    connection.exec_driver_sql(SUMMARY)
    connection.exec_driver_sql(BEST)
    _give_tokens(connection)


def _give_tokens(connection: Connection) -> None:
    # From what the trial is, so that two copies of a store still know it for the same.
    given: set[str] = set()
    for number, *facts in connection.execute(text(WITHOUT_TOKEN)).all():
        token = blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()
        while token in given:
            token = blake2b(token.encode(), digest_size=16).hexdigest()
        given.add(token)
        values = {"token": token, "number": number}
        connection.execute(text("UPDATE trial SET token = :token WHERE number = :number"), values)
