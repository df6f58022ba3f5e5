"""A fork server that dies is started anew, and nothing is left of what it has taken along."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from threading import Timer

import psutil
import pytest

from search_space.config import Config
from search_space.errors import TuneError
from search_space.trial import FailureKind
from search_space.workload import Workload
from tests.tuner.trials import assert_gone, job, wait_until
from tuner.processes.children import FORKS, Children
from tuner.processes.server import POLL_S
from tuner.runners.base import Deadlines
from tuner.runners.incumbent import Incumbent
from tuner.runners.interleaved import run_interleaved
from tuner.runners.trial_process import run_trial

pytestmark = [pytest.mark.heavy, pytest.mark.skipif(not FORKS, reason="nothing is forked here")]
TASKS = "tests.tuner.server_tasks:"
CALLS = "tests.tuner.tasks:makes_calls"
STAYS = "tests.tuner.incumbent_tasks:stays_alive"
BF16, FP16 = (Config({"precision": name}) for name in ("bf16", "fp16"))


@pytest.fixture(scope="module")
def children():
    """Starts processes by forks."""
    with Children(forks=True) as started:
        yield started


@pytest.fixture
def ask(children, tmp_path):
    """What a task answers whose server dies in so many of its tries."""

    def asked(deaths):
        request = {"tries": str(tmp_path / "tries"), "deaths": deaths}
        return children.call(TASKS + "answers_in_the_end", request, timeout_s=120.0)

    return asked


def servers():
    """The fork servers of this process that are alive."""
    own = psutil.Process().children()
    return [each for each in own if "tuner.processes.forkserver" in each.cmdline()]


def asked_for(name, folder, config=None):
    return replace(job(config), workload=Workload(name), cache_dir=str(folder))


def test_between_two_tasks_it_is_started_anew_and_imports_the_same(children, ask, tmp_path):
    children.preload(["tomllib"])
    ask(0)
    (_, server) = (tmp_path / "tries").read_text().split()
    os.kill(int(server), signal.SIGKILL)
    assert ask(0) == {"torch": True, "tomllib": True}


def test_killed_while_it_imports_it_is_started_anew():
    before = servers()
    with Children(forks=True) as fresh:
        (server,) = set(servers()) - set(before)
        server.kill()
        answer = fresh.call("tests.tuner.tasks:started", {}, timeout_s=120.0)
    assert answer["torch"]


def test_while_it_lives_it_is_waited_for(children, ask, tmp_path):
    ask(0)
    server = psutil.Process(int((tmp_path / "tries").read_text().split()[1]))
    server.suspend()
    Timer(4 * POLL_S, server.resume).start()
    began_s = time.monotonic()
    assert ask(0)["torch"]
    assert time.monotonic() - began_s > 3 * POLL_S
    assert server.is_running()


def test_a_task_that_it_took_along_is_done_once_more(ask, tmp_path):
    assert ask(1)["torch"]
    (first, server), (second, other_server) = (
        line.split() for line in (tmp_path / "tries").read_text().splitlines()
    )
    assert (first, server) != (second, other_server)
    assert_gone(int(first), int(server))


def test_a_task_that_takes_two_servers_along_is_given_up(ask):
    with pytest.raises(TuneError, match="lost twice: the process that starts trials ended") as told:
        ask(5)
    assert "\n" not in str(told.value)


def test_a_server_that_cannot_be_started_is_told_in_one_line(tmp_path, monkeypatch):
    with Children(forks=True) as fresh:
        monkeypatch.setenv("PYTHONHOME", str(tmp_path / "nowhere"))
        (server,) = servers()[-1:]
        server.kill()
        with pytest.raises(TuneError, match=r"ended 3 times in a row \(exit code 1\)") as told:
            fresh.call("tests.tuner.tasks:started", {})
    assert "\n" not in str(told.value)


def test_a_lost_trial_is_repeated_once_and_then_a_crash_and_the_run_goes_on(children, tmp_path):
    def run(deaths):
        (tmp_path / "tries").unlink(missing_ok=True)
        asked = asked_for(str(deaths), tmp_path)
        task = TASKS + "dies_with_its_server"
        trial = run_trial(children, asked, Deadlines(120.0), lambda phase: None, task)
        return trial.outcome, len((tmp_path / "tries").read_text().splitlines())

    measurement, tries = run(1)
    assert measurement.seconds == {"steady": (0.1,)}
    assert tries == 2
    failure, tries = run(9)
    assert (failure.kind, failure.phase, tries) == (FailureKind.CRASH, "steady", 2)
    assert failure.message.endswith("took it along twice: killed by SIGKILL")
    assert run(0)[1] == 1


def test_of_a_round_those_that_were_lost_are_repeated_in_later_turns(children, tmp_path):
    jobs = [asked_for(name, tmp_path) for name in ("9 exits", "2 ends-server", "3")]
    trials = run_interleaved(children, jobs, Deadlines(120.0), lambda job, phase: None, CALLS)
    first, *others = list(trials)
    assert first.outcome.message == "ended with exit code 0 and no result"
    # The turn in which the server died has no number again.
    assert [trial.outcome.turns for trial in others] == [{"steady": (1, 2, 3)}] * 2
    done = (tmp_path / "done").read_text().splitlines()
    assert done.count("9 load") == 1
    assert done.count("3 load") == 2


def test_an_incumbent_is_lost_with_its_server_and_another_takes_its_place(children, tmp_path):
    def run(living, name, config, beside=None):
        living.release(but=beside)
        asked = replace(asked_for(name, tmp_path, config), stays=True)
        asked = replace(asked, beside=beside, beside_s=None if beside is None else 0.1)
        trial = living.run(children, asked, Deadlines(120.0), lambda phase: None, STAYS)
        return trial.measurement

    with Incumbent() as living:
        run(living, "first", BF16)
        pid = int((tmp_path / "pid of first").read_text())
        psutil.Process(pid).parent().kill()
        assert_gone(pid)
        second = run(living, "second", FP16, beside=BF16)
        assert "incumbent" not in second.seconds
        third = run(living, "third", BF16, beside=FP16)
        assert third.turns["incumbent"] == (0, 1, 2)


def test_a_trial_that_was_lost_beside_an_incumbent_is_repeated_alone(children, tmp_path):
    with Incumbent() as living:
        first = replace(asked_for("first ends-server", tmp_path, BF16), stays=True)
        living.run(children, first, Deadlines(120.0), lambda phase: None, STAYS)
        # In the first call that it makes for this one.
        second = replace(asked_for("second", tmp_path, FP16), stays=True)
        second = replace(second, beside=BF16, beside_s=0.1)
        trial = living.run(children, second, Deadlines(120.0), lambda phase: None, STAYS)
        assert trial.measurement.seconds == {"steady": (0.2, 0.2, 0.2)}


def test_of_a_child_that_was_killed_no_process_and_no_file_is_left(children, tmp_path):
    with children.task_folder() as folder:
        seen = tmp_path / "pids"
        child = children.start(TASKS + "leaves_processes", folder, {"seen": str(seen)})
        wait_until(lambda: seen.exists() and seen.read_text().endswith("\n"))
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait(60.0) == -signal.SIGKILL
        assert child.loss is None
        assert_gone(*map(int, seen.read_text().split()))
    assert not folder.exists()


def test_of_a_server_that_was_killed_no_process_is_left(children, tmp_path):
    with children.task_folder() as folder:
        seen = tmp_path / "pids"
        child = children.start(TASKS + "leaves_processes", folder, {"seen": str(seen)})
        wait_until(lambda: seen.exists() and seen.read_text().endswith("\n"))
        psutil.Process(child.pid).parent().kill()
        assert child.wait(60.0) == -signal.SIGKILL
        assert child.loss == "killed by SIGKILL"
        assert_gone(*map(int, seen.read_text().split()))
