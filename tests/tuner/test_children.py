"""Child processes: what they are told, what they tell, and that they go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from search_space.errors import ModelError, TuneError
from tests.tuner.trials import TASKS, assert_gone, job, wait_until
from tuner.processes.children import Children
from tuner.processes.task import log_tail
from tuner.records.job import Job

pytestmark = pytest.mark.heavy

ENVIRONMENT = {"SEEN_BEFORE_PYTHON_STARTED": "1", "PYTHONHASHSEED": "7"}


def test_the_process_that_measures_knows_the_controller(children):
    assert children.call(TASKS + "started", {})["controller"] == os.getpid()


def test_a_task_that_ends_with_an_error_raises_it(children):
    with pytest.raises(ModelError, match="no such model"):
        children.call(TASKS + "model_is_bad", {})


def test_a_task_that_dies_raises_what_it_printed(children):
    with pytest.raises(TuneError, match="nobody expected this"):
        children.call(TASKS + "raises", {})


def test_a_forked_child_finds_torch_imported_and_knows_when_it_was_asked_for():
    with Children(forks=True) as children:
        began_s = time.monotonic()
        start = children.call(TASKS + "started", {})
        assert start["torch"]
        assert 0 < start["start_s"] < time.monotonic() - began_s


def test_requests_that_arrive_together_are_all_answered():
    with Children(forks=True) as children:
        children.preload(["json"])
        children.preload(["csv"])
        assert children.call(TASKS + "started", {}, timeout_s=60.0)["torch"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
def test_the_end_of_a_child_that_nobody_waited_for_is_not_taken_for_the_next(tmp_path):
    with Children(forks=True) as children:
        late = children.start(TASKS + "hangs", tmp_path, {})
        os.kill(late.pid, signal.SIGKILL)
        wait_until(lambda: not psutil.pid_exists(late.pid))
        assert children.call(TASKS + "started", {}, timeout_s=60.0)["torch"]


def test_an_environment_is_there_before_python_starts(children, tmp_path):
    # The seed of hashes is read at the start alone: set later, it would change nothing.
    child = children.start(TASKS + "hashes", tmp_path, {}, ENVIRONMENT)
    assert child.wait(60.0) == 0, log_tail(tmp_path)
    code = "print(hash('diffusers'))"
    command = [sys.executable, "-c", code]
    expected = subprocess.check_output(command, env=os.environ | ENVIRONMENT, text=True)
    seen = json.loads((tmp_path / "result.json").read_text())
    assert seen == {"hash": int(expected), "variable": "1"}


def test_after_an_environment_the_next_child_has_none(children, tmp_path):
    for environment, known in ((ENVIRONMENT, "1"), ({}, None)):
        child = children.start(TASKS + "hashes", tmp_path, {}, environment)
        assert child.wait(60.0) == 0, log_tail(tmp_path)
        assert json.loads((tmp_path / "result.json").read_text())["variable"] == known


def test_the_tree_of_a_child_with_an_environment_is_killed(children, tmp_path):
    environment = ENVIRONMENT | {"SEEN_IN": str(tmp_path)}
    child = children.start(TASKS + "hangs_with_grandchild", tmp_path, {}, environment)
    seen = tmp_path / "pids"
    wait_until(lambda: seen.exists() and seen.read_text())
    child.kill()
    assert child.status == -signal.SIGKILL
    assert_gone(*map(int, seen.read_text().split()[:2]))


@pytest.mark.parametrize("environment", [{}, ENVIRONMENT], ids=["forked", "new interpreter"])
def test_a_killed_controller_leaves_nothing_behind(tmp_path, environment):
    code = (
        "from tests.tuner.test_children import *\n"
        "with Children() as children, children.task_folder() as folder:\n"
        "    task = TASKS + 'hangs_with_grandchild'\n"
        f"    children.start(task, folder, {{}}, {environment}).wait(60.0)"
    )
    environment = os.environ | {"SEEN_IN": str(tmp_path)}
    controller = subprocess.Popen([sys.executable, "-c", code], env=environment)
    seen = tmp_path / "pids"
    wait_until(lambda: seen.exists() and seen.read_text())
    child, grandchild, folder = seen.read_text().split()
    server = psutil.Process(int(child)).ppid()
    controller.send_signal(signal.SIGKILL)
    controller.wait()
    assert_gone(int(child), int(grandchild), server)
    wait_until(lambda: not Path(folder).exists())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
def test_children_side_by_side_are_told_apart_and_end_with_their_server(tmp_path):
    folders = [tmp_path / name for name in ("first", "second", "third")]
    for folder in folders:
        folder.mkdir()
    with Children(forks=True) as children:
        first, second = (children.start(TASKS + "hangs", folder, {}) for folder in folders[:2])
        third = children.start(TASKS + "exits", folders[2], {})
        second.kill()
        assert (first.wait(0.1), second.status, third.wait(60.0)) == (None, -signal.SIGKILL, 7)
    assert_gone(first.pid)


def test_the_request_reaches_the_child_as_json(tmp_path):
    with Children(forks=False) as children:
        child = children.start(TASKS + "measured", tmp_path, job({"precision": "bf16"}))
        assert child.wait(60.0) == 0
    request = json.loads((tmp_path / "request.json").read_text())
    assert Job.from_json(request) == job({"precision": "bf16"})
