"""Where the output goes: a disk that is full, a reader that has gone, figures without an end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from search_space.trial import Measurement, Peak
from storage import Store
from tests.tuner.simulation import go, plan
from tuner.cli.main import main

pytestmark = pytest.mark.heavy

FULL = Path("/dev/full")
PRINTS = (["trials", "--json"], ["trials"], ["best"], ["show", "1"], ["--help"], ["--version"])


@pytest.fixture
def history(tmp_path):
    path = tmp_path / "history.db"
    with Store(str(path)) as store:
        go(plan(tmp_path, trials=3), store)
    return path


def tune(arguments, history, **streams):
    environment = {**os.environ, "DIFFUSERS_AUTOTUNE_STORE": str(history)}
    command = [sys.executable, "-m", "tuner", *arguments]
    return subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, **streams)


@pytest.mark.skipif(not FULL.exists(), reason="needs a device that is full")
@pytest.mark.parametrize("arguments", PRINTS, ids=" ".join)
def test_a_full_disk_under_stdout_is_one_line(arguments, history):
    with FULL.open("wb") as full:
        ended = tune(arguments, history, stdout=full)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: writing failed (No space left on device): free some space")


@pytest.mark.parametrize("arguments", PRINTS, ids=" ".join)
def test_a_reader_that_has_gone_ends_the_command_quietly(arguments, history):
    reading, writing = os.pipe()
    os.close(reading)
    ended = tune(arguments, history, stdout=writing)
    os.close(writing)
    # What click prints before any command it ends by itself, as failed.
    status = 1 if arguments[0].startswith("--") else 0
    assert (ended.returncode, ended.stderr) == (status, "")


def test_a_stdout_that_is_closed_takes_nothing(history):
    close = 'exec "$@" >&-'
    command = ["sh", "-c", close, "sh", sys.executable, "-m", "tuner", "trials", "--json"]
    environment = {**os.environ, "DIFFUSERS_AUTOTUNE_STORE": str(history)}
    ended = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_a_figure_without_an_end_is_null_in_json(history, value):
    peak = Peak("host", "steady", "rss", 2**30)
    endless = Measurement({"load": (1.0,), "steady": (1.0,)}, (peak,), {"psnr_db": value})
    with Store(str(history)) as store:
        one = store.trials()[-1].trial
        number = store.add(one.study_id, replace(one, outcome=endless)).number
    for arguments in (["trials"], ["show", str(number)], ["best"]):
        ended = CliRunner().invoke(main, [*arguments, "--json", "--store", str(history)])
        assert ended.exit_code == 0, ended.output

        def refuse(word):
            raise AssertionError(word)

        printed = json.loads(ended.stdout, parse_constant=refuse)
    assert printed


@pytest.mark.parametrize("table", ["memory", "sample"])
def test_a_trial_without_its_rows_is_one_line_of_the_commands(history, table):
    with Store(str(history)) as store:
        store.write(lambda db: db.exec_driver_sql(f"DELETE FROM {table} WHERE trial_number = 1"))
    # Lists are of what the readings came to, and need them no more.
    ended = CliRunner().invoke(main, ["show", "1", "--store", str(history)])
    assert ended.exit_code == 2
    (line,) = ended.stderr.splitlines()
    assert "the store is damaged" in line


def test_a_damaged_store_is_one_line_of_the_commands(history):
    with Store(str(history)) as store:
        store.write(lambda db: db.exec_driver_sql("UPDATE sample SET seconds = 'fast'"))
    for arguments in (["best"], ["show", "1"]):
        ended = CliRunner().invoke(main, [*arguments, "--store", str(history)])
        assert ended.exit_code == 2
        (line,) = ended.stderr.splitlines()
        assert line.startswith("error: trial ")
        assert "sample.seconds is 'fast'" in line
