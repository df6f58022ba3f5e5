"""What a run makes of trials that fail, and of a baseline that does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search_space.budget import UNLIMITED, Budget
from search_space.errors import ModelError, TuneError
from search_space.knob import Tier
from search_space.space import Space
from search_space.trial import Condition, Failure, FailureKind, Measurement, Peak
from tests.tuner.simulation import FACTORS, GIB, Simulation, context, go, plan
from tuner.records.objective import best
from tuner.records.plan import Plan

SOMEONE = "other processes took 1.0 cores"
BUSY = (Condition("others_cores", 1.0, SOMEONE),)


def test_where_the_baseline_does_not_fit_what_spares_memory_is_tried_first(tmp_path, store):
    def short(config):
        return FailureKind.HOST_OUT_OF_MEMORY if config == {} else None

    simulation = Simulation(failing=short)
    run = go(plan(tmp_path, trials=4, budget=Budget(4 * GIB)), store, simulation)
    _, second, third, _ = simulation.jobs
    # In the precision of the baseline, for its image stands in for the baseline's.
    assert second.config == run.stand_in.config
    assert "attention_slicing" in second.config and "precision" not in second.config
    assert second.output == third.reference


class BusyMachine(Simulation):
    """Every config but the baseline is cut short, for someone else is at work."""

    cut_short = Failure(FailureKind.TIMEOUT, "steady was late", "steady", conditions=BUSY)

    def outcome(self, config, job):
        return self.cut_short if config else super().outcome(config, job)


class BusyMachineWithinDeadlines(BusyMachine):
    """The same where the first steady call is beyond the cap."""

    cut_short = Measurement(
        {"steady": (99.0,)}, (Peak("host", "steady", "", 1),), {"psnr_db": 40.0}, BUSY
    )


@pytest.mark.parametrize("machine", [BusyMachine, BusyMachineWithinDeadlines])
def test_what_a_neighbour_cut_short_is_tried_again_by_a_later_run_once(tmp_path, store, machine):
    aim = plan(tmp_path, trials=20, include=("precision",))
    cut = go(aim, store, machine()).trials[1:]
    assert [trial.outcome.disturbed for trial in cut] == [SOMEONE] * 2
    second, third = machine(), machine()
    go(aim, store, second)
    assert [job.config for job in second.jobs] == [trial.config for trial in cut]
    go(aim, store, third)
    assert third.jobs == []


def test_a_deadline_on_a_quiet_machine_is_final(tmp_path, store):
    aim = plan(tmp_path, trials=20, include=("precision",))
    go(aim, store, Simulation(failing=lambda config: FailureKind.TIMEOUT if config else None))
    again = Simulation()
    go(aim, store, again)
    assert again.jobs == []


@pytest.mark.heavy
def test_failures_are_kept_and_the_run_goes_on(tmp_path, store):
    def crash(config):
        return FailureKind.CRASH if config.get("precision") == "bf16" else None

    run = go(plan(tmp_path, trials=12), store, Simulation(failing=crash))
    failed = [trial for trial in run.trials if isinstance(trial.outcome, Failure)]
    assert failed
    assert len(run.trials) == 12
    assert best(run.trials, UNLIMITED).config.get("precision") != "bf16"


@pytest.mark.parametrize("kind", [FailureKind.CRASH, FailureKind.TIMEOUT])
def test_a_failed_baseline_ends_the_run(tmp_path, store, kind):
    simulation = Simulation(failing=lambda config: kind)
    with pytest.raises(TuneError, match="the baseline fails"):
        go(plan(tmp_path), store, simulation)
    assert len(simulation.jobs) == 1


def test_a_baseline_out_of_memory_leaves_the_first_that_runs_as_reference(tmp_path, store):
    def fail(config):
        return None if config else FailureKind.DEVICE_OUT_OF_MEMORY

    simulation = Simulation(failing=fail)
    aim = plan(tmp_path, trials=4)
    run = go(aim, store, simulation)
    assert [job.output for job in simulation.jobs[1:]] == [str(aim.reference), None, None]
    assert run.stand_in == run.trials[1]
    tuned = run.tuned()
    assert tuned.speedup is None
    assert tuned.baseline["latency_s"] is None


def test_nothing_is_compared_with_another_image(tmp_path, store):
    asked = replace(context(), quality=Tier.LOSSY, allow_lossy=True)
    asked = replace(asked, workload=replace(asked.workload, steps=8))
    space = Space(asked, {"steps": "half"}, tuple(FACTORS))
    aim = Plan(space, UNLIMITED, 4, None, 600.0, tmp_path / "cache")
    simulation = Simulation(
        failing=lambda config: None if config else FailureKind.DEVICE_OUT_OF_MEMORY
    )
    go(aim, store, simulation)
    assert [job.config.get("steps") for job in simulation.jobs] == [None, *["half"] * 3]
    assert [job.output for job in simulation.jobs[1:]] == [None] * 3


def test_a_model_that_does_not_load_is_the_users_mistake(tmp_path, store):
    class Unloadable(Simulation):
        def outcome(self, config, job):
            return Failure(FailureKind.UNSUPPORTED, "SafetensorError: header too large", "load")

    with pytest.raises(ModelError, match="does not load: SafetensorError"):
        go(plan(tmp_path), store, Unloadable())
