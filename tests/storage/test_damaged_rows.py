"""Rows that hold what no run has written: read all the same, or refused in one line."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from search_space.errors import StoreError
from search_space.proposal import Expectation, Proposal, Reason
from search_space.trial import Condition
from storage import Store
from storage.schema import metadata
from tests.storage.refusals import refused

# SQLite takes any of them in any column, but for what stands in a key.
VALUES = ["x", "", "NaN", "[1, 2]", "{}", '{"a": {"b": [1]}}', '{"precision": 7}', "[" * 9_000]
VALUES += ['{"x": Infinity}', 7, -1, 0, 2**62, 1.5, float("inf"), float("-inf"), b"\xff\x00", None]


@pytest.fixture
def whole(full_store, machine, workload, space, measured_trial, failed_trial) -> Path:
    """A store with a row in every table."""
    expected = Expectation(1.5, 1.2, 1.9, 0.5, 0.4, 0.6, 0.9, 12.0)
    outcome = replace(
        measured_trial.outcome, conditions=(Condition("others_cores", 0.5),), work={"flops": 1e12}
    )
    proposal = Proposal(measured_trial.config, Reason.PRIOR, expected)
    with Store(str(full_store)) as store:
        store.add(1, replace(measured_trial, outcome=outcome, proposal=proposal))
        store.add(1, failed_trial)
    return full_store


def damage(path: Path, table: str, column: str, value: object) -> bool:
    """Change one row; whether SQLite let it."""
    with closing(sqlite3.connect(path)) as connection:
        row = f"(SELECT max(rowid) FROM {table})"
        try:
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = {row}", (value,))
        except sqlite3.IntegrityError:
            return False
        connection.commit()
    return True


CASES = [
    (table.name, column.name, value)
    for table in metadata.sorted_tables
    if table.name not in ("autotune_version", "claim")
    for column in table.c
    for value in VALUES
]


def read_damaged(whole: Path, cases: list[tuple[str, str, object]], machine, workload) -> Counter:
    ends: Counter[str] = Counter()
    path = whole.with_name("damaged.db")
    for case in cases:
        shutil.copy(whole, path)
        if not damage(path, *case):
            ends["refused by SQLite"] += 1
            continue
        with Store(str(path), read_only=True) as store:
            for read in (
                store.trials,
                lambda: store.of_workload(machine, workload),
                lambda: store.of_device("cuda:0", 9),
                lambda: store.elsewhere(machine, workload),
            ):
                try:
                    read()
                    ends["read"] += 1
                except StoreError as error:
                    ends["one line"] += 1
                    assert "\n" not in str(error)
                    assert len(str(error)) < 500
    return ends


def test_a_damaged_row_is_read_or_told_in_one_line(whole, machine, workload):
    ends = read_damaged(whole, random.Random(0).sample(CASES, 200), machine, workload)
    assert ends["read"] and ends["one line"]


@pytest.mark.long
def test_every_damaged_row_is_read_or_told_in_one_line(whole, machine, workload):
    ends = read_damaged(whole, CASES, machine, workload)
    assert sum(ends.values()) > 3 * len(CASES)


@pytest.mark.parametrize(
    ("table", "column", "value", "said"),
    [
        ("sample", "seconds", "fast", "trial 2 in .*sample.seconds is 'fast'"),
        ("sample", "seconds", float("-inf"), "trial 2 in .*sample.seconds is -inf"),
        ("trial", "started_at", "noon", "trial 3 in .*Invalid isoformat string: 'noon'"),
        ("config", "choices", '{"precision": {"bf16": []}}', r"config.choices.precision is \{"),
        ("machine", "facts", "[" * 9_000, "trial 1 in .*RecursionError"),
        ("workload", "facts", '{"prompts": 7}', "trial 1 in .*prompts is 7"),
    ],
)
def test_the_trial_and_what_is_wrong_are_named(whole, table, column, value, said):
    assert damage(whole, table, column, value)
    with Store(str(whole), read_only=True) as store, pytest.raises(StoreError, match=said):
        store.trials()


def test_the_other_trials_can_still_be_read(whole):
    assert damage(whole, "sample", "seconds", "fast")
    with Store(str(whole), read_only=True) as store:
        assert store.trial(1).trial.number == 1
        with refused("trial 2 in"):
            store.trial(2)


def test_another_machine_that_is_damaged_is_told_of(whole, machine, workload):
    assert damage(whole, "machine", "facts", '{"cores": "many"}')
    with Store(str(whole), read_only=True) as store, refused("a machine in"):
        store.elsewhere(replace(machine, cores=99), workload)
