"""The drift of a simulated run, in a real ledger."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.tuner.simulation import BEST, NEIGHBOUR, Simulation, of
from tests.tuner.simulation import go_noisily as go
from tuner.race.finalists import drift

pytestmark = pytest.mark.heavy


def test_the_baseline_is_measured_again_every_ten_trials(plan, store):
    simulation = Simulation()
    run = go(replace(plan, trials=22, race_rounds=0, sampler="random"), store, simulation)
    assert len(run.trials) == 22
    assert len(of(store, "drift")) == 2
    assert [job.cap_s for job in simulation.jobs if job.config == {}] == [None, 0.0, 0.0]
    assert run.tuned().drift == 0.0


def test_drift_is_told_and_finalists_are_ranked_without_it(plan, found):
    run = go(replace(plan, trials=22), found, Simulation(drift=0.02))
    assert run.tuned().drift == pytest.approx(drift(run.history))
    assert run.tuned().drift > 0.1
    assert run.tuned().config == BEST


def test_a_neighbour_at_the_baseline_is_no_drift(plan, store):
    class OnceBusy(Simulation):
        def outcome(self, config, job):
            made = super().outcome(config, job)
            slow = {**made.seconds, "steady": (14.0,)}
            busy = (replace(NEIGHBOUR, complaint="someone"),)
            return replace(made, seconds=slow, conditions=busy) if job.cap_s == 0.0 else made

    run = go(replace(plan, trials=22, race_rounds=0, sampler="random"), store, OnceBusy())
    assert len(of(store, "drift")) == 2
    assert run.tuned().drift == 0.0


def test_one_slow_measurement_of_the_baseline_excludes_nobody(plan, found):
    class OnceSlow(Simulation):
        def outcome(self, config, job):
            made = super().outcome(config, job)
            slow = {**made.seconds, "steady": (14.0,)}
            return replace(made, seconds=slow) if job.cap_s == 0.0 else made

    run = go(replace(plan, trials=22), found, OnceSlow())
    assert run.tuned().drift == pytest.approx(0.4, rel=0.02)
    assert BEST in [dict(trial.config) for trial in of(found, "race")]
    assert run.tuned().config == BEST
