"""A store that fails within a run: tried again, and for good."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from storage import Store
from tests.tuner.simulation import Quiet, Simulation, go, plan
from tuner.records.progress import Ending
from tuner.report.ending import ending_lines, next_lines
from tuner.run import NothingFound, Run

ENOUGH_S = 60.0


class Stopping(Simulation):
    """A machine on which the server is stopped before so many trials."""

    def __call__(self, job, deadlines, on_phase):
        if len(self.jobs) in self.stops:
            self.server.stop()
        return super().__call__(job, deadlines, on_phase)


def stopping(server, *before):
    simulation = Stopping()
    simulation.server, simulation.stops = server, before
    return simulation


def test_a_server_that_restarts_within_a_trial_costs_nothing(tmp_path, server):
    with Store(server.url, patience_s=ENOUGH_S) as store, ThreadPoolExecutor() as threads:
        future = threads.submit(go, plan(tmp_path, trials=6), store, stopping(server, 2, 4))
        # The simulation stops it, and it is started here: see tests/postgresql.py.
        for _ in range(2):
            while server.is_running:
                time.sleep(0.05)
            server.start()
        run = future.result()
        assert run.store_error is None
        assert run.ending is Ending.TRIALS
        stored = [stored.trial for stored in store.trials()]
    assert len(stored) == len({trial.config for trial in stored}) == 6
    assert stored == run.trials


def test_a_server_that_is_gone_ends_the_run_with_what_is_known(tmp_path, server):
    with Store(server.url, patience_s=0.2) as store:
        run = go(plan(tmp_path, trials=9), store, stopping(server, 3))
        result = run.result(tmp_path / "tuned")
        assert "the PostgreSQL server is gone" in result.store_error
        assert run.ending is Ending.STORE
        # The fourth is in none but this memory.
        assert len(result.trials) == 4
        assert (tmp_path / "tuned" / "load.py").exists()
        best_s = min(trial.measurement.latency_s for trial in run.trials)
        assert result.tuned.tuned["latency_s"] == best_s
        assert next(ending_lines(result, 9)).startswith("The store failed in the search.")
        assert list(next_lines(result))[-1] == "Next: the same command goes on from here."
        server.start()
        assert len(store.trials()) == 3
        again = Run(plan(tmp_path, trials=9))
        again.go(store, Simulation(), Quiet())
        assert len(store.trials()) == len(again.trials) == 9


def test_a_server_that_is_gone_in_the_race_leaves_the_search(plan, found, server, tmp_path):
    with Store(server.url, patience_s=0.2) as store:
        simulation = stopping(server, 9)
        simulation.noise = 0.003
        run = go(plan, store, simulation)
        result = run.result(tmp_path / "tuned")
    assert run.ending is not Ending.STORE
    assert "The store failed in the race." in next(ending_lines(result, 9))
    assert len(result.trials) == 7


def test_a_baseline_that_could_not_be_stored_is_nothing_to_write(tmp_path, server):
    with Store(server.url, patience_s=0.2) as store:
        run = go(plan(tmp_path), store, stopping(server, 0))
    with pytest.raises(NothingFound, match="the store failed before a config was tried"):
        run.result(tmp_path / "tuned")
    assert len(run.trials) == 1


FILLED = """
import sys
from pathlib import Path
from storage import Store
from tests.tuner.simulation import Simulation, go, plan
from tuner.run import NotWritten

folder, output, frees, patience_s = sys.argv[1:]
ballast = Path(folder) / "ballast"

class Filling(Simulation):
    def __call__(self, job, deadlines, on_phase):
        trial = super().__call__(job, deadlines, on_phase)
        if len(self.jobs) == 4:
            fill()
        return trial

def fill():
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    if frees == "frees":
        from threading import Timer
        Timer(1.0, ballast.unlink).start()

with Store(f"{folder}/history.db", patience_s=float(patience_s)) as store:
    run = go(plan(Path(folder).with_name("work"), trials=8), store, Filling())
    try:
        print(run.result(Path(output)).folder)
    except NotWritten as error:
        print(error.result.tuned.config, error)
    ballast.unlink(missing_ok=True)
    print(run.ending, len(run.trials), len(store.trials()), run.store_error)
"""


@pytest.fixture
def filled(tmp_path):
    """Runs on a disk of 600 kB that is full after the fourth trial; what was printed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size=600k none {disk} && exec "$@"'
    within = ("unshare", "--mount", "sh", "-c", mount, "sh")
    if not shutil.which("unshare") or subprocess.run([*within, "true"]).returncode:
        pytest.skip("needs the right to mount")

    def run(*arguments):
        command = (*within, sys.executable, "-c", FILLED, disk, *map(str, arguments))
        child = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert child.returncode == 0, child.stderr
        return child.stdout.splitlines()

    return run


def test_a_disk_that_is_full_for_a_moment_costs_nothing(filled, tmp_path):
    folder, counts = filled(tmp_path / "tuned", "frees", ENOUGH_S)
    assert counts == "trials 8 8 None"
    assert folder == str(tmp_path / "tuned")


def test_a_disk_that_stays_full_ends_the_run_with_what_is_known(filled, tmp_path):
    folder, counts = filled(tmp_path / "tuned", "stays", 0.2)
    assert counts.startswith("store 4 3 ")
    assert counts.endswith("has no room: the disk is full; free some space, stored trials are kept")
    assert folder == str(tmp_path / "tuned")
    assert (tmp_path / "tuned" / "load.py").exists()


def test_an_output_on_the_full_disk_is_said_with_the_result(filled, tmp_path):
    result, _ = filled(tmp_path / "disk" / "tuned", "stays", 0.2)
    assert "precision" in result
    assert "No space left on device" in result
