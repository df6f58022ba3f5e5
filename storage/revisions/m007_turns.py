"""Which calls of a race's round lay beside each other is a number of the sample.

It was the time at which all began the turn, as a condition of the sample.
"""

from collections import defaultdict

from sqlalchemy import Connection, text

revision = "m007_turns"
down_revision = "m006_seconds_a_call"

STAMPS = """
SELECT trial.race, trial.round, trial.number, condition.sample_kind, condition.sample_position,
       condition.value
FROM condition
JOIN trial ON trial.number = condition.trial_number
WHERE condition.kind = 'turn_unix_s'
"""
NUMBERED = """
UPDATE sample SET turn = :turn
WHERE trial_number = :number AND kind = :kind AND position = :position
"""
LEFT = "SELECT trial_number, position FROM condition ORDER BY trial_number, position"
MOVED = """
UPDATE condition SET position = :place WHERE trial_number = :number AND position = :position
"""


def upgrade(connection: Connection) -> None:
    """Number the turns of each round in the order of their times."""
    connection.exec_driver_sql("ALTER TABLE sample ADD COLUMN turn INTEGER")
    rounds = defaultdict(list)
    for race, round, *call, began_s in connection.execute(text(STAMPS)).all():
        rounds[race, round].append((began_s, *call))
    for calls in rounds.values():
        times = sorted({began_s for began_s, *_ in calls})
        for began_s, number, kind, position in calls:
            values = {"number": number, "kind": kind, "position": position}
            connection.execute(text(NUMBERED), values | {"turn": times.index(began_s)})
    connection.exec_driver_sql("DELETE FROM condition WHERE kind = 'turn_unix_s'")
    close_gaps(connection)


def close_gaps(connection: Connection) -> None:
    """The conditions of a trial are counted from 0 without a gap."""
    places: dict[int, int] = defaultdict(int)
    # In order, so that none is moved to where another still is.
    for number, position in connection.execute(text(LEFT)).all():
        if position != places[number]:
            values = {"number": number, "position": position, "place": places[number]}
            connection.execute(text(MOVED), values)
        places[number] += 1
