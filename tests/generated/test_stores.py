"""Generated damage to the rows of a store: `tune` shows what is there, or refuses in one line."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing, suppress

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from search_space.budget import Budget
from search_space.config import Config
from search_space.trial import Condition, Failure, FailureKind, Measurement, Peak, Purpose, Trial
from storage import Store
from tests.generated.documents import LEAVES, spoiled
from tests.tuner.simulation import context
from tuner.cli.main import main

pytestmark = pytest.mark.timeout(3600)

PEAKS = (Peak("host", "steady", "VmHWM", 2**30),)
NEIGHBOUR = (Condition("others_cores", 0.9, "other processes took 0.9 cores", "steady", 1),)
COMMANDS = (["trials"], ["show", "1"], ["show", "2"], ["best"])


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """A store with a baseline, a faster config, a failure and a race of the first two."""
    path = tmp_path_factory.mktemp("store") / "history.db"
    setting = context()
    with Store(str(path)) as store:
        study = store.open_study(
            setting.machine, setting.workload, Budget(2**33), {"precision": ["fp32", "bf16"]}
        )
        for number, (config, latency_s) in enumerate([({}, 3.0), ({"precision": "bf16"}, 1.0)] * 2):
            raced = {"purpose": Purpose.RACE, "race": "b2:1", "round": 1} if number > 1 else {}
            compared = {"psnr_db": 40.0, "ssim": 0.99} if config else {}
            measured = Measurement({"steady": (latency_s,) * 3}, PEAKS, compared, NEIGHBOUR)
            trial = Trial(Config(config), measured, 9.0, "2026-01-01T00:00:00+00:00", **raced)
            store.add(study, trial)
        failure = Failure(FailureKind.CRASH, "it died", "export", "a log\nof lines")
        failed = Config({"engine": "compile-default"})
        store.add(study, Trial(failed, failure, 9.0, "2026-01-01T00:00:00+00:00"))
    return path


def cells(path):
    """Each value of the tables that hold what was measured: table, column, row and value."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
            if "version" not in name and not name.startswith("sqlite_")
        ]
        for table in tables:
            rows = connection.execute(f"SELECT rowid, * FROM {table}")
            names = [description[0] for description in rows.description][1:]
            for number, *values in rows.fetchall():
                for name, value in zip(names, values, strict=True):
                    yield table, name, number, value


def as_document(value):
    """What a text holds as JSON, or None."""
    try:
        document = json.loads(value)
    except (TypeError, ValueError):
        return None
    return document if isinstance(document, (dict, list)) else None


@st.composite
def damage(draw, places):
    """Where a value stands, and what becomes of it."""
    table, name, row, value = draw(st.sampled_from(places))
    document = as_document(value)
    kinds = LEAVES | st.binary(max_size=4)
    if document is not None:
        kinds = st.one_of(kinds, *[spoiled(document).map(json.dumps)] * 3)
    return table, name, row, draw(kinds)


def spoil(path, damages):
    """Change the values; those that the database itself refuses stay."""
    with closing(sqlite3.connect(path)) as connection:
        for table, name, row, value in damages:
            with suppress(sqlite3.Error, OverflowError, UnicodeEncodeError):
                change = f"UPDATE {table} SET {name} = ? WHERE rowid = ?"
                connection.execute(change, (value, row))
        connection.commit()


def test_a_damaged_row_is_read_or_refused_in_one_line(history, tmp_path):
    places = list(cells(history))
    copy = tmp_path / "history.db"

    @given(
        damages=st.lists(damage(places), min_size=1, max_size=3),
        command=st.sampled_from(COMMANDS),
        as_json=st.booleans(),
    )
    def each(damages, command, as_json):
        shutil.copyfile(history, copy)
        spoil(copy, damages)
        line = [*command, "--store", str(copy), *(["--json"] if as_json else [])]
        result = CliRunner().invoke(main, line)
        assert result.exit_code in (0, 2), (line, result.output)
        if result.exit_code:
            (told,) = result.stderr.strip().splitlines()
            assert told.startswith("error: ") and "a bug of ours" not in told
        elif as_json:
            json.loads(result.stdout, parse_constant=refused)

    each()


def refused(constant):
    raise AssertionError(f"{constant} is no JSON")
