"""Runs on one device take turns."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tuner.runners.device_lock import POLL_S, DeviceLock

HOLD = """
import sys, time
from pathlib import Path
from tuner.runners.device_lock import DeviceLock
with DeviceLock("cpu", Path(sys.argv[1])).held(lambda: None):
    print("holds", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that measures and does not end."""
    command = [sys.executable, "-c", HOLD, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "holds\n"
        yield process
        process.kill()


def test_trials_of_two_runs_never_overlap_and_take_turns(tmp_path):
    order, begin = [], Barrier(2)

    def run(name):
        begin.wait()
        for _ in range(4):
            with DeviceLock("cpu", tmp_path).held(lambda: None):
                order.append((name, "begins"))
                time.sleep(3 * POLL_S)
                order.append((name, "ends"))

    with ThreadPoolExecutor() as threads:
        list(threads.map(run, "ab"))
    pairs = list(zip(order[::2], order[1::2], strict=True))
    assert all(begun[0] == ended[0] for begun, ended in pairs)
    names = [begun[0] for begun, _ in pairs]
    assert names in (["a", "b"] * 4, ["b", "a"] * 4)


def test_a_run_that_measures_is_waited_for_until_it_is_killed(tmp_path, holder):
    with ThreadPoolExecutor() as threads:
        told = []

        def measure():
            with DeviceLock("cpu", tmp_path).held(lambda: told.append("waits")):
                pass

        running = threads.submit(measure)
        time.sleep(5 * POLL_S)
        assert set(told) == {"waits"}
        assert not running.done()
        os.kill(holder.pid, signal.SIGKILL)
        running.result(timeout=60)


def test_a_run_that_is_stopped_is_not_waited_for(tmp_path, holder):
    os.kill(holder.pid, signal.SIGSTOP)
    with DeviceLock("cpu", tmp_path).held(lambda: None):
        pass


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
def test_another_device_is_free(tmp_path, holder, device):
    with DeviceLock(device, tmp_path).held(lambda: pytest.fail("it waits")):
        pass


def test_another_gpu_of_the_same_name_is_free(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with DeviceLock("cuda", tmp_path).held(lambda: None):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
        with DeviceLock("cuda", tmp_path).held(lambda: pytest.fail("it waits")):
            pass


def test_without_a_place_for_locks_trials_run_all_the_same(tmp_path):
    (tmp_path / "file").touch()
    with DeviceLock("cpu", tmp_path / "file").held(lambda: pytest.fail("it waits")):
        pass
