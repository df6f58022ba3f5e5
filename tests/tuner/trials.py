"""Trials that are one of the tasks, and what becomes of their processes."""

from __future__ import annotations

import time

import psutil

from search_space.budget import UNLIMITED
from search_space.workload import Workload
from tuner.records.job import Job
from tuner.runners.base import Deadlines
from tuner.runners.trial_process import run_trial

TASKS = "tests.tuner.tasks:"


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


def wait_until(holds, timeout_s=60.0):
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s, "it did not come about"
        time.sleep(0.05)


def assert_gone(*pids):
    def gone(pid):
        return not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"

    wait_until(lambda: all(gone(pid) for pid in pids), timeout_s=10.0)
