"""Whoever is killed, in whatever phase: no process and no file is left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from tests.tuner.trials import wait_until
from tuner.processes.children import FORKS
from tuner.processes.folders import RunFolder

pytestmark = [pytest.mark.heavy, pytest.mark.skipif(not FORKS, reason="nothing is forked here")]

BEGINNING = """
import sys, time
from dataclasses import replace
from pathlib import Path
from search_space.workload import Workload
from tests.tuner.test_incumbent import FIRST, TASK as STAYS, asked_for
from tests.tuner.trials import job
from tuner.processes.children import Children
from tuner.runners.base import Deadlines
from tuner.runners.incumbent import Incumbent
from tuner.runners.interleaved import run_interleaved

folder = Path(sys.argv[1])
with Children() as children:
"""
PHASES = {
    "while the server imports": """
    (folder / "reached").touch()
    time.sleep(60)
""",
    "while a task is done": """
    with children.task_folder() as place:
        task = "tests.tuner.server_tasks:leaves_processes"
        children.start(task, place, {"seen": str(folder / "reached")}).wait(60.0)
""",
    "in a new interpreter": """
    with children.task_folder() as place:
        task = "tests.tuner.server_tasks:leaves_processes"
        seen = {"seen": str(folder / "reached")}
        children.start(task, place, seen, {"OF_ITS_OWN": "1"}).wait(60.0)
""",
    "in a round of which one trial has ended": """
    own = {"cache_dir": str(folder)}
    jobs = [replace(job(), workload=Workload(name), **own) for name in ("9 exits", "2 hangs")]
    task = "tests.tuner.tasks:makes_calls"
    for trial in run_interleaved(children, jobs, Deadlines(60.0), print, task):
        (folder / "reached").touch()
""",
    "while an incumbent stays alive": """
    with Incumbent() as living:
        asked = asked_for("first", FIRST, None, folder)
        living.run(children, asked, Deadlines(60.0), print, STAYS)
        (folder / "reached").touch()
        time.sleep(60)
""",
}


@pytest.fixture
def killed(tmp_path):
    """Kills a controller in a phase, as it stands; what it had started must be gone."""
    # The paths of sockets are short, and those of pytest are not.
    temporary = Path(tempfile.mkdtemp(prefix="left-"))

    def kill(phase, also_server=False):
        environment = os.environ | {"TMPDIR": str(temporary)}
        command = [sys.executable, "-c", BEGINNING + PHASES[phase], str(tmp_path)]
        controller = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        reached = tmp_path / "reached"
        wait_until(reached.exists)
        assert list(temporary.iterdir())
        (server,) = psutil.Process(controller.pid).children()
        started = [server.pid, *(each.pid for each in server.children(recursive=True))]
        if also_server:
            server.suspend()
        controller.kill()
        controller.wait()
        if also_server:
            server.kill()
        wait_until(lambda: all(not psutil.pid_exists(pid) for pid in started), timeout_s=60.0)
        return temporary

    yield kill
    shutil.rmtree(temporary)


@pytest.mark.parametrize("phase", PHASES)
def test_a_controller_that_was_killed_leaves_nothing(killed, phase):
    assert not list(killed(phase).iterdir())


def test_what_is_left_where_the_server_was_killed_too_goes_with_the_next_run(killed, monkeypatch):
    temporary = killed("while an incumbent stays alive", also_server=True)
    (left,) = temporary.iterdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    first = RunFolder()
    assert not left.exists()
    # That of a run that is still there is not touched.
    second = RunFolder()
    assert first.path.exists()
    for folder in (first, second):
        folder.close()
    assert not list(temporary.iterdir())
