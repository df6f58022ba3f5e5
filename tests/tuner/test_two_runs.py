"""Runs of the same workload at the same time share the work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from search_space.config import BASELINE
from storage import Claims, Store
from tests.tuner.simulation import Quiet, Simulation, go, plan
from tuner.records.progress import Ending
from tuner.run import Run
from tuner.runners.compile_cache import CompileCache

pytestmark = pytest.mark.heavy

# A run with a machine that takes its time; with "hangs" it never ends its third trial.
RUN = """
import json, sys, time
from dataclasses import replace
from pathlib import Path
from storage import Store
from tests.tuner.simulation import Simulation, go, plan

url, folder, hangs = sys.argv[1:]

class Slow(Simulation):
    def __call__(self, job, deadlines, on_phase):
        time.sleep(0.05)
        if hangs == "hangs" and len(self.jobs) == 2:
            print("hangs", flush=True)
            time.sleep(600)
        return super().__call__(job, deadlines, on_phase)

print("ready", flush=True)
sys.stdin.readline()
with Store(url) as store:
    run = go(replace(plan(Path(folder), trials=12), race_rounds=2), store, Slow(noise=0.003))
tuned = run.tuned()
print(json.dumps([len(run.trials), len(run.reuse.trials), dict(tuned.config)]))
"""


@pytest.fixture(params=["file", "postgresql"])
def url(request, tmp_path):
    if request.param == "file":
        return str(tmp_path / "shared.db")
    return request.getfixturevalue("postgresql")


@pytest.fixture
def started(url, tmp_path):
    """Starts runs in processes of their own, which begin at the same moment."""
    processes = []

    def start(*behaviours):
        for behaviour in behaviours:
            command = [sys.executable, "-c", RUN, url, str(tmp_path), behaviour]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            processes.append(subprocess.Popen(command, **pipes))
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        return processes

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def measured(url):
    """How often each config was measured for the search, and for each round of each race."""
    with Store(url) as store:
        trials = [stored.trial for stored in store.trials()]
    searched = Counter(trial.config for trial in trials if trial.purpose.is_searched)
    raced = Counter((t.race, t.round, t.config) for t in trials if t.race is not None)
    return searched, raced


def test_two_runs_measure_nothing_twice_and_end_alike(started, url):
    ends = [json.loads(process.communicate()[0]) for process in started("", "")]
    searched, raced = measured(url)
    assert set(searched.values()) == {1}
    assert set(raced.values()) == {1}
    assert [trials for trials, _, _ in ends] == [12, 12]
    # What one has measured the other has reused; both may have been at their last one.
    assert len(searched) in (12, 13)
    assert sum(trials - reused for trials, reused, _ in ends) == len(searched)
    assert all(reused for _, reused, _ in ends)
    assert all(config for _, _, config in ends)


def test_a_killed_run_leaves_its_work_to_the_other(started, url):
    killed, other = started("hangs", "")
    assert killed.stdout.readline() == "hangs\n"
    os.kill(killed.pid, signal.SIGKILL)
    # It is not waited for: a process that nobody has waited for counts as dead, too.
    trials, _, _ = json.loads(other.communicate()[0])
    searched, raced = measured(url)
    assert trials == 12 == len(searched)
    assert set(searched.values()) == {1} == set(raced.values())


class Waiting(Quiet):
    """Keeps what it was told, and who waits."""

    def waiting(self, sentence):
        self.told.append(sentence)


def test_the_baseline_of_another_run_is_waited_for(tmp_path):
    path = str(tmp_path / "shared.db")
    planned, progress = plan(tmp_path, trials=1), Waiting()
    baseline = planned.subject(BASELINE)
    with Store(path) as store, Store(path) as other, Claims(other) as claims:
        assert claims.take(baseline)
        with ThreadPoolExecutor() as threads:
            running = threads.submit(Run(planned).go, store, Simulation(), progress)
            while not progress.told or "waiting" not in progress.told[-1]:
                time.sleep(0.01)
            assert store.trials() == []
            claims.drop(baseline)
            running.result()
        assert len(store.trials()) == 1


def test_runs_with_every_config_claimed_by_others_wait_for_them(tmp_path):
    path = str(tmp_path / "shared.db")
    planned = plan(tmp_path, include=("precision",))
    configs = [config for config in planned.space.configs() if not config.is_baseline]
    with Store(path) as store, Store(path) as other, Claims(other) as claims:
        for config in configs:
            assert claims.take(planned.subject(config))
        with ThreadPoolExecutor() as threads:
            running = threads.submit(go, planned, store)
            while not store.trials():
                time.sleep(0.01)
            time.sleep(0.2)
            assert len(store.trials()) == 1
            for config in configs:
                claims.drop(planned.subject(config))
            assert running.result().ending is Ending.EXHAUSTED
        assert len(store.trials()) == 1 + len(configs)


def test_a_run_that_ends_early_drops_its_claims(tmp_path):
    def interrupted(job, deadlines, on_phase):
        raise KeyboardInterrupt

    path, planned = str(tmp_path / "shared.db"), plan(tmp_path)
    with Store(path) as store, Claims(store) as others:
        go(planned, store, interrupted)
        assert others.take(planned.subject(BASELINE))


def test_what_a_run_compiles_is_its_own(tmp_path):
    with CompileCache(tmp_path) as one, CompileCache(tmp_path) as two:
        folders = [cache.folder("config") for cache in (one, two)]
        for folder in folders:
            folder.mkdir(parents=True)
        one.forget("config")
        assert [folder.exists() for folder in folders] == [False, True]
        with CompileCache(tmp_path):
            assert folders[1].exists()
    assert list(tmp_path.iterdir()) == []


COMPILE = """
import os, signal, sys
from pathlib import Path
from tuner.runners.compile_cache import CompileCache
with CompileCache(Path(sys.argv[1])) as cache:
    cache.folder("config").mkdir(parents=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_run_has_compiled_is_swept_by_the_next(tmp_path):
    (tmp_path / "of_an_older_version").mkdir()
    assert subprocess.run([sys.executable, "-c", COMPILE, tmp_path]).returncode == -9
    # The one before went as that run began.
    assert len(list(tmp_path.iterdir())) == 2
    with CompileCache(tmp_path):
        (lock,) = tmp_path.iterdir()
    assert not lock.exists()
