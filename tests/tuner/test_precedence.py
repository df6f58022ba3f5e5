"""A user's own modules of our names do not come in our way, nor ours in theirs."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import search_space
import storage
import tuner
from tests.tuner.test_emit import tuned
from tests.tuner.trials import TASKS
from tuner.deploy.emit import emit
from tuner.processes.children import Children
from tuner.processes.task import log_tail, read_result

ROOT = Path(tuner.__file__).parents[1]
OURS = {module.__name__: module.__file__ for module in (search_space, storage, tuner, queue)}
STRANGER = "raise RuntimeError(__file__ + ' was imported')\n"
SCRIPT = "from tuner.__main__ import main\nmain()\n"
APPLICATION = """
import sys, tuner
pipe = tuner.load(sys.argv[1])
import storage
print(storage.MINE, type(pipe).__name__)
"""
TOO_LATE = """
import search_space, sys, tuner
from tuner.precedence import errors
try:
    tuner.load(sys.argv[1])
except errors().UsageError as error:
    print(error)
"""


@pytest.fixture
def folder(tmp_path):
    """A folder of modules that are a user's, by the names of our packages."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name in ("search_space", "storage"):
        (folder / f"{name}.py").write_text(STRANGER)
    return folder


def python(folder, *arguments, path=(ROOT,)):
    """What a Python of its own prints that is started in a folder."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_module_runs_where_a_user_has_modules_of_our_names_and_of_pythons(folder):
    (folder / "queue.py").write_text(STRANGER)
    ended = python(folder, "-m", "tuner", "--version")
    assert (ended.stdout, ended.stderr) == (f"tune, version {tuner.__version__}\n", "")
    ended = python(folder, "-m", "tuner", "trials")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "run 'tune run' first" in ended.stderr


def test_the_script_runs_where_a_user_has_modules_of_our_names_on_the_path(folder, tmp_path):
    (tmp_path / "tune").write_text(SCRIPT)
    ended = python(folder, tmp_path / "tune", "trials", path=(folder, ROOT))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "run 'tune run' first" in ended.stderr


@pytest.mark.heavy
def test_the_machine_is_looked_at_where_a_user_has_modules_of_our_names(folder, tmp_path):
    (tmp_path / "tune").write_text(SCRIPT)
    ended = python(folder, tmp_path / "tune", "machine", "--json", path=(folder, ROOT))
    assert ended.returncode == 0, ended.stderr
    assert '"packages"' in ended.stdout


@pytest.mark.heavy
@pytest.mark.parametrize("forks", [True, False], ids=["forked", "spawned"])
def test_every_child_imports_ours(folder, tmp_path, monkeypatch, forks):
    (folder / "tuner.py").write_text(STRANGER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(folder), str(ROOT))))
    with Children(forks) as children:
        for number, environment in enumerate(({}, {"IN_A_NEW_INTERPRETER": "1"})):
            task = tmp_path / f"task {number}"
            task.mkdir()
            assert children.start(TASKS + "packages", task, {}, environment).wait(120.0) == 0, (
                log_tail(task)
            )
            assert read_result(task) == OURS


def test_an_application_keeps_its_storage_when_it_loads(folder, tmp_path, reference_folder):
    (folder / "storage.py").write_text("MINE = 'my own storage'\n")
    (folder / "application.py").write_text(APPLICATION)
    config = replace(tuned({}), folder=str(reference_folder("sd15-tiny")))
    emit(config, tmp_path / "tuned")
    ended = python(folder, "-W", "ignore", "application.py", tmp_path / "tuned")
    assert ended.stdout == "my own storage StableDiffusionPipeline\n", ended.stderr


def test_an_application_that_imported_its_own_search_space_is_told_in_one_line(folder):
    (folder / "search_space.py").write_text("")
    (folder / "application.py").write_text(TOO_LATE)
    ended = python(folder, "application.py", "tuned")
    assert ended.stdout == (
        f"{folder / 'search_space.py'} was imported as 'search_space', and diffusers-autotune"
        " has a package of that name: give yours another\n"
    ), ended.stderr
