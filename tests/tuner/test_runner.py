from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from search_space.budget import UNLIMITED, Budget
from search_space.errors import ModelError, TuneError
from search_space.trial import Failure, FailureKind, Measurement, Peak
from search_space.workload import Workload
from tuner.children import Children, log_tail
from tuner.forkserver import preload
from tuner.gpu_answers import LOOK, UNKNOWN, answering, spoiled
from tuner.memory_limits import stop_bytes
from tuner.runner import Deadlines, run_trial, with_descendants
from tuner.worker import Job

TASKS = "tests.tuner.tasks:"


@pytest.fixture(scope="module", params=[True, False], ids=["forked", "spawned"])
def children(request):
    with Children(forks=request.param) as started:
        yield started


ENVIRONMENT = {"SEEN_BEFORE_PYTHON_STARTED": "1", "PYTHONHASHSEED": "7"}


A_GPU = {"name": "a described GPU", "major": 9, "minor": 0}
MIB = 2**20
linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's account is Linux's")


def job(config=None, budget=UNLIMITED):
    return Job(Workload("m"), "folder", "cpu", config or {}, "cache", budget=budget)


def run(
    children,
    task,
    trial_s=60.0,
    call_s=None,
    config=None,
    on_phase=lambda phase: None,
    budget=UNLIMITED,
):
    deadlines = Deadlines(trial_s, call_s)
    return run_trial(children, job(config, budget), deadlines, on_phase, TASKS + task)


def test_a_trial_ends_itself_over_the_budget_of_a_device_without_a_limit(children):
    asked = replace(job(budget=Budget(2**30)), device="hpu")
    task = TASKS + "fills_a_device"
    failure = run_trial(children, asked, Deadlines(60.0), lambda phase: None, task).outcome
    assert (failure.kind, failure.phase) == (FailureKind.DEVICE_OUT_OF_MEMORY, "load")
    assert failure.peak_bytes == 1100 * 2**20
    assert failure.message == "it held 1.07 GiB of the device"


def test_a_measurement_comes_back_with_every_sample(children):
    trial = run(children, "measured")
    assert isinstance(trial.outcome, Measurement)
    assert trial.outcome.seconds["steady"] == (0.1, 0.3, 0.2)
    assert trial.outcome.latency_s == 0.2
    assert "step" not in trial.outcome.seconds
    assert trial.outcome.peak_bytes == 2**20
    assert trial.cost_s > 0


def test_phases_are_told_and_a_late_one_is_a_timeout_with_its_log(children):
    seen = []
    trial = run(children, "hangs", call_s=0.5, on_phase=seen.append)
    assert isinstance(trial.outcome, Failure)
    assert trial.outcome.kind is FailureKind.TIMEOUT
    assert trial.outcome.phase == "steady"
    assert "about to hang" in trial.outcome.log
    assert seen == ["load", "steady"]


def test_the_whole_trial_has_a_deadline_too(children):
    began_s = time.monotonic()
    trial = run(children, "hangs", trial_s=8.0)
    assert trial.outcome.kind is FailureKind.TIMEOUT
    assert 7.0 < time.monotonic() - began_s < 20.0


def test_what_else_was_at_work_is_kept_with_a_timeout(children):
    (seen,) = run(children, "hangs", call_s=0.5).outcome.conditions
    assert seen.kind == "others_cores"
    assert seen.value >= 0


def test_the_process_that_measures_knows_the_controller(children):
    assert children.call(TASKS + "started", {})["controller"] == os.getpid()


@pytest.mark.parametrize(
    ("task", "phase", "message"),
    [("segfaults", "first_call", "killed by SIGSEGV"), ("exits", "start", "exit code 7")],
)
def test_a_death_is_a_crash_with_its_cause(children, task, phase, message):
    failure = run(children, task).outcome
    assert (failure.kind, failure.phase) == (FailureKind.CRASH, phase)
    assert message in failure.message


def test_an_exception_outside_the_trial_is_a_crash_with_its_traceback(children):
    failure = run(children, "raises").outcome
    assert failure.kind is FailureKind.CRASH
    assert "nobody expected this" in failure.log


def test_the_tree_of_a_timed_out_trial_is_killed(children, tmp_path, monkeypatch):
    monkeypatch.setenv("SEEN_IN", str(tmp_path))
    with Children(forks=children.forks) as fresh:
        trial = run(fresh, "hangs_with_grandchild", trial_s=9.0)
    assert trial.outcome.kind is FailureKind.TIMEOUT
    child, grandchild, folder = (tmp_path / "pids").read_text().split()
    assert_gone(int(child), int(grandchild))
    assert not Path(folder).exists()


def test_memory_of_descendants_counts(children):
    measurement = run(children, "allocates_in_grandchild").outcome
    assert measurement.peak_bytes > 300 * 2**20


@linux
def test_memory_that_is_held_for_a_moment_while_loading_is_seen(children):
    measurement = run(children, "spikes_while_loading").outcome
    assert 500 * MIB < measurement.peak_bytes < 1100 * MIB


@linux
def test_files_that_are_read_once_do_not_count_and_those_in_use_do(children):
    peaks = run(children, "maps_weights").outcome.peaks
    found = {(peak.place, peak.phase): peak.peak_bytes for peak in peaks}
    assert found["host_resident", "load"] - found["host", "load"] > 250 * MIB
    assert found["host", "steady"] - found["host", "load"] > 50 * MIB


@linux
@pytest.mark.parametrize("task", ["runs_away", "runs_away_in_grandchild"])
def test_a_runaway_is_stopped_long_before_the_machine_is_full(children, task):
    budget = Budget(host_bytes=200 * MIB)
    failure = run(children, task, budget=budget).outcome
    assert (failure.kind, failure.phase) == (FailureKind.HOST_OUT_OF_MEMORY, "load")
    stop = stop_bytes(budget, "cpu")
    assert stop < failure.peak_bytes < stop + 800 * MIB
    assert "far over the budget" in failure.message


@linux
def test_what_is_far_over_the_budget_fails_with_its_phase(children):
    failure = run(children, "runs_into_its_limit", budget=Budget(200 * MIB)).outcome
    assert (failure.kind, failure.phase) == (FailureKind.HOST_OUT_OF_MEMORY, "load")
    assert "can't allocate memory" in failure.message
    assert 0 < failure.peak_bytes < 2**30


@linux
def test_an_error_near_the_limit_is_taken_to_be_for_want_of_memory(children):
    failure = run(children, "fails_in_other_words").outcome
    assert (failure.kind, failure.phase) == (FailureKind.HOST_OUT_OF_MEMORY, "first_call")
    assert failure.peak_bytes > 0


def test_a_library_that_gives_up_for_memory_is_no_crash(children):
    failure = run(children, "gives_up_for_memory").outcome
    assert (failure.kind, failure.phase) == (FailureKind.HOST_OUT_OF_MEMORY, "first_call")


@linux
def test_the_kernel_is_asked_to_kill_the_trial_first(children):
    assert children.call(TASKS + "told_to_go_first", {}) == {"oom_score_adj": 1000}


def test_descendants_count_in_the_phase_in_which_they_were():
    peaks = [
        Peak("host", "load", "VmHWM less RssFile", 100),
        Peak("host_resident", "first_call", "VmHWM", 150),
        Peak("host", "first_call", "VmHWM", 200),
        Peak("host", "warm_up", "VmHWM", 220),
        Peak("device", "first_call", "max_memory_reserved", 7),
    ]
    found = with_descendants(peaks, {"first_call": 230, "warm_up": 210, "check": 400})
    sizes = {(peak.place, peak.phase): peak.peak_bytes for peak in found}
    assert sizes["host", "load"] == 100
    assert sizes["host", "first_call"] == 230
    assert sizes["host", "warm_up"] == 220
    assert sizes["host_resident", "first_call"] == 150
    assert sizes["device", "first_call"] == 7
    assert max(sizes.values()) == 230


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


def test_a_process_forked_after_an_import_has_touched_a_gpu_is_spoiled_where_there_is_one(
    monkeypatch,
):
    assert not spoiled({"cuda": [A_GPU]})
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    assert spoiled({"cuda": [A_GPU]})
    assert spoiled({"cuda": [UNKNOWN]})
    assert not spoiled({"cuda": []})
    assert not spoiled({})


def test_imports_ask_for_a_gpu_without_starting_it_and_trials_do_not(monkeypatch):
    monkeypatch.delenv(LOOK, raising=False)
    preload(["tests.tuner.asks_for_a_gpu"])
    assert importlib.import_module("tests.tuner.asks_for_a_gpu").asked == "1"
    assert LOOK not in os.environ


def test_while_they_are_imported_packages_are_told_what_gpu_there_is():
    with answering({"cuda": [A_GPU]}):
        kept = torch.cuda.get_device_properties
        assert torch.cuda.get_device_capability() == (9, 0)
        assert torch.cuda.get_device_name("cuda:0") == "a described GPU"
        assert torch.cuda.get_device_capability(torch.cuda.device(0)) == (9, 0)
        assert torch.cuda.current_device() == 0
    for function in (kept, torch.cuda.get_device_properties):
        with pytest.raises((AssertionError, RuntimeError)):
            function(100)


def test_engines_may_compile_in_their_first_calls_and_nothing_else_may():
    deadlines = Deadlines(trial_s=600.0, call_s=10.0)
    compiled = {"engine": "compile-default"}
    assert deadlines.phase_s("first_call", {}) == 10.0
    assert deadlines.phase_s("first_call", compiled) == 600.0
    assert deadlines.phase_s("record", compiled) == 10.0
    assert deadlines.phase_s("steady", compiled) == 10.0
    assert deadlines.phase_s("load", {}) == 600.0


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
        "from tests.tuner.test_runner import *\n"
        "from tuner.children import task_folder\n"
        "with Children() as children, task_folder() as folder:\n"
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


def wait_until(holds, timeout_s=60.0):
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s, "it did not come about"
        time.sleep(0.05)


def assert_gone(*pids):
    def gone(pid):
        return not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"

    wait_until(lambda: all(gone(pid) for pid in pids), timeout_s=10.0)


def test_the_request_reaches_the_child_as_json(tmp_path):
    with Children(forks=False) as children:
        child = children.start(TASKS + "measured", tmp_path, job({"precision": "bf16"}))
        assert child.wait(60.0) == 0
    request = json.loads((tmp_path / "request.json").read_text())
    assert Job.from_json(request) == job({"precision": "bf16"})
