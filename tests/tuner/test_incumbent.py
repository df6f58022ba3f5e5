"""The incumbent's process, which stays alive and makes calls beside those of later trials."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from search_space.config import Config
from search_space.workload import Workload
from tests.tuner.trials import assert_gone, job, wait_until
from tuner.measuring.interleaving import possible
from tuner.runners import incumbent as module
from tuner.runners.base import Deadlines
from tuner.runners.incumbent import Incumbent

pytestmark = pytest.mark.skipif(not possible(), reason="there are no such sockets here")
FIRST, SECOND = (Config({"precision": name}) for name in ("bf16", "fp16"))
TASK = "tests.tuner.incumbent_tasks:stays_alive"
THIRD = Config({"memory_format": "channels_last"})


def asked_for(name, config, beside, folder):
    known_s = None if beside is None else 2.0
    own = {"workload": Workload(name), "cache_dir": str(folder), "stays": True}
    return replace(job(config), beside=beside, beside_s=known_s, **own)


@pytest.fixture
def search(children, tmp_path):
    """Runs a trial of a config under a name, beside another config; the incumbent is its own."""
    with Incumbent() as living:

        def run(name, config, beside=None):
            living.release(but=beside)
            asked = asked_for(name, config, beside, tmp_path)
            task = TASK
            return living.run(children, asked, Deadlines(60.0), lambda phase: None, task)

        run.living = living
        yield run


@pytest.fixture
def pid_of(tmp_path):
    """The process of the trial of this name."""
    return lambda name: int((tmp_path / f"pid of {name}").read_text())


def test_the_first_trial_has_no_incumbent_and_stays_alive(search, pid_of):
    trial = search("first", FIRST)
    assert trial.measurement.seconds["steady"] == (0.2, 0.2, 0.2)
    assert "incumbent" not in trial.measurement.seconds
    assert psutil.pid_exists(pid_of("first"))


def test_each_call_of_a_trial_has_one_of_the_incumbent_beside_it(search, pid_of):
    search("first", FIRST)
    measurement = search("second", SECOND, beside=FIRST).measurement
    assert measurement.turns == {"steady": (0, 1, 2), "incumbent": (0, 1, 2)}
    assert measurement.seconds["incumbent"] == (0.1, 0.1, 0.1)
    # Twice what the incumbent takes, which is known by 2 s.
    assert measurement.call_s == pytest.approx(4.0)
    assert psutil.pid_exists(pid_of("first"))


def test_who_stays_is_what_the_next_trial_asks_for(search, pid_of):
    search("first", FIRST)
    search("second", SECOND, beside=FIRST)
    search("third", THIRD, beside=SECOND)
    assert_gone(pid_of("first"))
    assert psutil.pid_exists(pid_of("second"))
    search("fourth", FIRST, beside=SECOND)
    assert_gone(pid_of("third"))
    assert psutil.pid_exists(pid_of("second"))


def test_an_incumbent_that_was_killed_is_done_without(search, pid_of):
    search("first", FIRST)
    os.kill(pid_of("first"), signal.SIGKILL)
    measurement = search("second", SECOND, beside=FIRST).measurement
    assert measurement.seconds["steady"] == (0.2, 0.2, 0.2)
    assert "incumbent" not in measurement.seconds
    # It stands in the other's place.
    third = search("third", THIRD, beside=SECOND).measurement
    assert third.turns["incumbent"] == (0, 1, 2)


def test_an_incumbent_that_crashes_in_its_call_is_done_without(search, pid_of):
    search("first crashes", FIRST)
    measurement = search("second", SECOND, beside=FIRST).measurement
    assert len(measurement.seconds["steady"]) == 3
    assert_gone(pid_of("first crashes"))


def test_an_incumbent_that_hangs_is_killed_and_done_without(search, pid_of, monkeypatch):
    monkeypatch.setattr(module, "SLACK_S", 0.5)
    monkeypatch.setattr(module, "SLOWEST", 0.0)
    search("first hangs", FIRST)
    measurement = search("second", SECOND, beside=FIRST).measurement
    assert len(measurement.seconds["steady"]) == 3
    assert_gone(pid_of("first hangs"))


def test_while_it_waits_it_takes_no_time_of_a_core(search, pid_of):
    search("first", FIRST)
    times = psutil.Process(pid_of("first")).cpu_times
    before = times()
    time.sleep(1.0)
    after = times()
    assert after.user + after.system - before.user - before.system < 0.03


def test_it_is_gone_when_the_run_is(search, pid_of):
    search("first", FIRST)
    search("second", SECOND, beside=FIRST)
    search.living.release()
    assert_gone(pid_of("first"), pid_of("second"))


def test_it_is_gone_when_its_controller_was_killed(tmp_path, pid_of):
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tests.tuner.test_incumbent import FIRST, TASK, asked_for\n"
        "from tuner.processes.children import Children\n"
        "from tuner.runners.base import Deadlines\n"
        "from tuner.runners.incumbent import Incumbent\n"
        "folder = Path(sys.argv[1])\n"
        "with Children() as children, Incumbent() as living:\n"
        "    job = asked_for('first', FIRST, None, folder)\n"
        "    living.run(children, job, Deadlines(60.0), lambda phase: None, TASK)\n"
        "    (folder / 'stays').touch()\n"
        "    time.sleep(60.0)\n"
    )
    controller = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    wait_until((tmp_path / "stays").exists)
    assert psutil.pid_exists(pid_of("first"))
    controller.kill()
    controller.wait()
    assert_gone(pid_of("first"))
