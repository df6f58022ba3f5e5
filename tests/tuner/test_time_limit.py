"""The time limit bounds search and race together."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from search_space.config import BASELINE, Config
from search_space.trial import Failure, FailureKind, Measurement, Peak, Purpose, Trial
from tests.tuner.simulation import BEST, Quiet, Simulation, of, plan
from tuner.records.costs import paid_back_images, race_s, round_s, spent_s
from tuner.records.progress import Ending
from tuner.run import Run

FAST = Config({"precision": "bf16"})


class Watched(Quiet):
    def race_planned(self, purpose, entrants, expected_s):
        self.told.append(("planned", purpose, entrants, expected_s))

    def race_skipped(self, purpose):
        self.told.append(("skipped", purpose))


def run(planned, store, simulation=None):
    watched, done = Watched(), Run(planned)
    done.go(store, simulation or Simulation(noise=0.003), watched)
    return done, watched.told


@pytest.mark.parametrize(("limit_s", "ending"), [(150.0, Ending.TIME), (None, Ending.TRIALS)])
def test_the_search_leaves_the_race_its_share(tmp_path, store, limit_s, ending):
    planned = replace(plan(tmp_path, trials=6, time_limit_s=limit_s), race_rounds=3)
    done, told = run(planned, store)
    # Two rounds of calls of 10 s and less take longer than there is.
    assert done.ending is ending
    assert (len(done.trials) < 6) == (ending is Ending.TIME)
    rounds = {trial.round for trial in of(store, "race")}
    assert rounds >= {1, 2}
    entrants, expected_s = next(line[2:] for line in told if line[1] is Purpose.RACE)
    raced = of(store, "race")
    first = [trial for trial in raced if (trial.race, trial.round) == (raced[0].race, 1)]
    assert entrants == len(first)
    assert expected_s > 100.0


def test_what_each_change_brings_is_left_out_where_there_is_no_time(tmp_path, store):
    planned = replace(plan(tmp_path, trials=7, include=tuple(BEST)), race_rounds=2)
    first, _ = run(replace(planned, race_rounds=0), store)
    assert any(len(trial.config) > 1 for trial in first.trials)
    _, told = run(replace(planned, time_limit_s=60.0), store)
    assert {trial.round for trial in of(store, "race")} == {1, 2}
    assert of(store, "ablation") == []
    assert ("skipped", Purpose.ABLATION) in told


def test_a_second_round_is_not_begun_once_time_is_over(tmp_path, store):
    class Slow(Simulation):
        """Its race takes longer than anyone expected."""

        def __call__(self, job, deadlines, on_phase):
            time.sleep(1.0 if job.precise else 0.0)
            return super().__call__(job, deadlines, on_phase)

    planned = replace(plan(tmp_path, trials=3), race_rounds=2)
    run(replace(planned, race_rounds=0), store)
    done, _ = run(replace(planned, time_limit_s=1.0), store, Slow())
    assert {trial.round for trial in of(store, "race")} == {1}
    assert done.tuned().speedup is None


def test_a_trial_for_which_the_time_was_over_is_not_in_the_ledger(tmp_path, store):
    class Slow(Simulation):
        def __call__(self, job, deadlines, on_phase):
            trial = super().__call__(job, deadlines, on_phase)
            if not job.config:
                # With calls as short as trials are charged here, for another is time enough.
                quick = {kind: (0.01,) * len(each) for kind, each in trial.outcome.seconds.items()}
                return replace(trial, outcome=replace(trial.outcome, seconds=quick))
            time.sleep(deadlines.trial_s)
            late = Failure(FailureKind.TIMEOUT, "load was not done", "load")
            return replace(trial, outcome=late)

    simulation = Slow()
    done, _ = run(plan(tmp_path, trials=6, time_limit_s=4.0), store, simulation)
    assert done.ending is Ending.TIME
    assert simulation.deadlines[-1].trial_s <= 4.0
    assert [trial.config for trial in done.trials] == [BASELINE]
    assert len(store.trials()) == 1


def measured(config=BASELINE, cost_s=30.0, call_s=2.0, first_s=12.0, **more):
    calls = {"first_call": (first_s,), "second_call": (2.0,), "steady": (call_s,) * 3}
    seconds = {"start": (0.5,), "load": (1.5,), "check": (2.0,), **calls, **more}
    peak = Peak("host", "steady", "said", 1)
    return Trial(config, Measurement(seconds, (peak,)), cost_s, "2026-01-01")


def test_the_seconds_of_a_trial_are_told_by_what_they_went_into():
    spent = spent_s([measured(export=(5.0,), wait=(1.0,), incumbent=(1.0, 1.0))])
    expected = {"load": 2.0, "build": 15.0, "calls": 12.0, "wait": 1.0, "check": 2.0, "other": 0.0}
    assert spent == {**expected, "calls": 2.0 + 2.0 + 6.0 + 2.0}


def test_what_is_not_accounted_for_and_what_failed_is_other():
    failed = Trial(FAST, Failure(FailureKind.CRASH, "it died"), 7.0, "2026-01-01")
    spent = spent_s([measured(cost_s=25.0), failed])
    assert sum(spent.values()) == pytest.approx(32.0)
    assert spent["other"] == pytest.approx(7.0 + 25.0 - 2.0 - 10.0 - 10.0 - 2.0)


def test_a_race_costs_its_rounds_of_the_baseline_and_of_whoever_is_near_the_best():
    slow = measured(Config({"attention": "plain"}), call_s=2.0)
    near = measured(FAST, call_s=1.0)
    trials = [replace(trial, number=n) for n, trial in enumerate([measured(), slow, near])]
    assert race_s(trials[:1], 2) == 0.0
    both = round_s(trials[0].measurement) + round_s(near.measurement)
    assert race_s(trials, 2) == pytest.approx(2 * both)
    # What is in the cache is not made again.
    exported = measured(FAST, export=(100.0,))
    assert round_s(exported.measurement) == round_s(measured().measurement)


def test_tuning_is_paid_back_by_what_each_image_saves():
    assert paid_back_images({"calls": 90.0, "load": 10.0}, 1.0, 1.5) == 200
    assert paid_back_images({"calls": 90.0}, 1.5, 1.5) is None
