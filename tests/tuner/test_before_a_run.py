"""What a run refuses before anything is measured, and what it says where little was."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner

from search_space.budget import UNLIMITED
from search_space.config import Config
from search_space.errors import UsageError
from search_space.space import Space
from storage import Store
from tests.storage.versions import VERSION_1, backups, store_of
from tests.tuner.simulation import BEST, Quiet, Simulation, context
from tests.tuner.test_emit import tuned
from tuner.cli.main import main
from tuner.deploy.emit import check_output, emit
from tuner.records.plan import Plan
from tuner.report.notes import notes
from tuner.run import Run

MODEL = "reference:sd15-tiny"


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["run", MODEL, *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    return result.stderr


@pytest.mark.parametrize("name", ["load.py", "config.json"])
def test_what_is_not_of_a_run_is_not_replaced(name, tmp_path):
    (tmp_path / name).write_text('{"my": "file"}', encoding="utf-8")
    assert f"{name} was not written by 'tune run'" in refused("--output", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_is_of_a_run_may_be_replaced(tmp_path):
    check_output(tmp_path / "not" / "there")
    assert list(tmp_path.iterdir()) == []
    emit(tuned({}), tmp_path / "tuned")
    check_output(tmp_path / "tuned")


def test_an_output_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "file").touch()
    assert "cannot be written" in refused("--output", str(tmp_path / "file" / "tuned"))
    with pytest.raises(UsageError, match="give another --output"):
        check_output(tmp_path / "file")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fix", "precision=bf16", "--fix", "precision=fp16"], "precision is fixed twice, at bf"),
        (["--include", "precision", "--exclude", "precision"], "both included and excluded"),
        (["--fix", "precision=bf16", "--exclude", "precision"], "both fixed and excluded"),
    ],
)
def test_pins_that_contradict_each_other_are_refused(arguments, words):
    assert words in refused(*arguments)


def test_a_model_without_trials_is_told_with_those_that_have_some(tmp_path):
    url = str(tmp_path / "history.db")
    Store(url).close()
    for command in (["best", MODEL], ["trials", "--model", MODEL]):
        result = CliRunner().invoke(main, [*command, "--store", url, "--json"])
        assert (result.exit_code, result.stdout) == (0, "[]\n")
        assert result.stderr == f"no trials of {MODEL!r}; there are some of: none\n"


@pytest.mark.heavy
@pytest.mark.parametrize("path", ["--help", "image", "no/folder/image.png"])
def test_a_script_checks_where_to_save_before_it_loads(path, tmp_path):
    folder = emit(replace(tuned({}), folder="/not/there"), tmp_path / "tuned")
    command = [sys.executable, str(folder / "load.py"), path]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"cannot save to {path}; usage: python load.py image.png\n"


@pytest.mark.heavy
def test_a_run_with_pins_leaves_the_pictures_of_others(tmp_path):
    space = Space(context(), include=tuple(BEST))
    plan = Plan(space, UNLIMITED, 7, None, 600.0, tmp_path / "cache", race_rounds=0)

    def go(plan):
        run = Run(plan)
        with Store(str(tmp_path / "history.db")) as store:
            run.go(store, Simulation(), Quiet())
        return run

    winner = go(plan).tuned().config
    pictures = plan.pictures(winner)
    pictures.parent.mkdir(parents=True, exist_ok=True)
    pictures.touch()
    other = Space(context(), {"precision": "fp32"}, include=("memory_format", "precision"))
    go(replace(plan, space=other)).forget_pictures()
    assert pictures.exists()
    slow = plan.pictures(Config({"precision": "fp16"}))
    slow.touch()
    go(plan).forget_pictures()
    # Another run may have made it, and store its trial next.
    assert pictures.exists() and slow.exists()
    os.utime(slow, (0, 0))
    go(plan).forget_pictures()
    assert pictures.exists() and not slow.exists()


def test_where_an_older_store_is_kept_is_told(tmp_path):
    space = Space(context(), include=("precision",))
    plan = Plan(space, UNLIMITED, 1, None, 600.0, tmp_path / "cache")
    path = store_of(VERSION_1, tmp_path)
    for _ in range(2):
        with Store(str(path)) as store:
            told = [note for note in notes(plan, store) if "older version" in note]
            assert told == [note for note in told if str(store.backup) in note]
            assert bool(told) is (store.backup is not None)
    assert len(backups(path)) == 1
