"""A run on a machine that a neighbour keeps busy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import psutil
import pytest

from search_space.config import BASELINE, Config
from search_space.trial import OTHERS_CORES, Condition, Measurement, Peak, Trial
from tests.tuner.simulation import Simulation, go, plan
from tuner.measuring.noise.neighbours import busy
from tuner.race.spoiled import spoiled

FAST = Config({"precision": "bf16"})


def raced(config, round, others, interleaved=True, device="host"):
    """A trial of a race beside each call of which others took so many cores."""
    conditions = tuple(
        Condition(OTHERS_CORES, cores, "busy" if cores > 0.1 else "", "steady", position)
        for position, cores in enumerate(others)
    )
    turns = {"steady": tuple(range(len(others)))} if interleaved else {}
    seconds = {"steady": (1.0,) * len(others)}
    peaks = (Peak(device, "steady", "said", 1),)
    outcome = Measurement(seconds, peaks, conditions=conditions, turns=turns)
    return Trial(config, outcome, 1.0, "2026-01-01", race="race", round=round)


def race(*others, **options):
    """Two rounds of the baseline and a config."""
    rounds = enumerate(others, 1)
    return [raced(c, number, of, **options) for number, of in rounds for c in (BASELINE, FAST)]


@pytest.mark.parametrize("interleaved", [True, False])
def test_a_quiet_race_tells_a_speedup(interleaved):
    assert spoiled(race([0.0] * 5, [0.05] * 5, interleaved=interleaved)) is None


def test_a_neighbour_during_a_round_spoils_it():
    assert (
        spoiled(race([0.0] * 5, [0.9] * 5)) == "other processes took 0.9 cores during 1 of 2 rounds"
    )
    assert spoiled(race([1.0] * 5, [0.9] * 5)) == "other processes took 1.0 cores during the race"
    assert spoiled(race([1.0] * 5, [0.9] * 5, interleaved=False)) is not None


def test_three_turns_that_were_calm_for_both_are_enough():
    assert spoiled(race([1.0, 0.0, 1.0, 0.0, 0.0], [0.0] * 5)) is None
    assert spoiled(race([1.0, 0.0, 1.0, 1.0, 0.0], [0.0] * 5)) is not None


def test_what_an_idle_system_takes_now_and_then_spoils_nothing():
    assert spoiled(race([0.2] * 5, [0.2] * 5)) is None


class Disturbed(Simulation):
    """Others take most of a core during every call."""

    def outcome(self, config, job):
        positions = range(3)
        conditions = tuple(Condition(OTHERS_CORES, 0.9, "busy", "steady", i) for i in positions)
        return replace(super().outcome(config, job), conditions=conditions)


def test_a_run_beside_a_neighbour_names_a_winner_and_no_speedup(tmp_path, store):
    planned = replace(plan(tmp_path, trials=4, fix={"precision": "bf16"}), race_rounds=2)
    tuned = go(planned, store, Disturbed(noise=0.003)).tuned()
    assert tuned.config["precision"] == "bf16"
    assert tuned.speedup is tuned.speedup_low is tuned.paid_back_images is None
    assert tuned.spoiled == "other processes took 0.9 cores during the race"


@contextmanager
def neighbour():
    """A process that keeps a core busy at a low priority and is none of ours."""
    command = 'nice -n 10 "$0" -c "while True: pass" >/dev/null 2>&1 & echo $!'
    process = psutil.Process(int(subprocess.check_output(["sh", "-c", command, sys.executable])))
    try:
        yield
    finally:
        process.kill()


@pytest.mark.slow  # Other tests beside it are such neighbours.
@pytest.mark.skipif(sys.platform != "linux", reason="a process leaves its parent by sh here")
def test_a_real_neighbour_is_told_before_anything_is_measured():
    with neighbour():
        headline = busy(look_s=2.0)
    assert "Other processes take" in headline
    assert "no speed-up can be told until they end" in headline


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform != "linux", reason="a process leaves its parent by sh here")
def test_beside_a_real_neighbour_a_run_says_so_first_and_tells_no_speedup(tiny_cache, tmp_path):
    command = [sys.executable, "-m", "tuner", "run", "reference:sd15-tiny", "--json"]
    call = ["--height", "64", "--width", "64", "--steps", "1"]
    limits = ["--trials", "2", "--race-rounds", "2", "--fix", "memory_format=channels_last"]
    places = ["--store", str(tmp_path / "busy.db"), "--output", str(tmp_path / "out")]
    cache = ["--cache-dir", str(tiny_cache)]
    threads = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    with neighbour():
        arguments = [*command, *call, *limits, *places, *cache]
        run = subprocess.run(arguments, capture_output=True, text=True, env=threads, timeout=1700)
    assert run.returncode == 0, run.stderr
    assert run.stderr.startswith("Other processes take")
    facts = json.loads(run.stdout)
    assert "other processes took" in facts["no_speedup"]
    assert facts["speedup"] is None
