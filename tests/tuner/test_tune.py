from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from search_space.budget import UNLIMITED, Budget
from search_space.errors import ModelError, TuneError
from search_space.knob import Tier
from search_space.space import Space
from search_space.trial import Condition, Failure, FailureKind, Measurement, Peak, Trial
from storage import Store
from tests.tuner.simulation import BEST, FACTORS, GIB, Quiet, Simulation, context
from tuner.objective import best, front
from tuner.pace import BEST_PACE
from tuner.plan import Plan
from tuner.run import Run
from tuner.study import Study
from tuner.tune import tune

SOMEONE = "other processes took 1.0 cores"
BUSY = (Condition("others_cores", 1.0, SOMEONE),)


@pytest.fixture
def store(tmp_path):
    with Store(str(tmp_path / "history.db")) as opened:
        yield opened


def plan(tmp_path, trials=20, budget=UNLIMITED, time_limit_s=None, fix=None, include=()):
    space = Space(context(), fix, include or tuple(FACTORS))
    return Plan(space, budget, trials, time_limit_s, 600.0, tmp_path / "cache")


def go(plan, store, simulation=None):
    run = Run(plan)
    run.go(store, simulation or Simulation(), Quiet())
    return run


def test_the_baseline_comes_first_and_is_the_reference(tmp_path, store):
    simulation = Simulation()
    run = go(plan(tmp_path, trials=5), store, simulation)
    first, second, *_ = simulation.jobs
    assert run.trials[0].config == first.config == {}
    assert run.trials[0].purpose == "baseline"
    assert run.reference is None
    assert first.output == second.reference
    assert first.reference is second.output is None
    assert run.trials[0].measurement.psnr_db is None


def test_where_the_baseline_does_not_fit_what_spares_memory_is_tried_first(tmp_path, store):
    def short(config):
        return FailureKind.HOST_OUT_OF_MEMORY if config == {} else None

    simulation = Simulation(failing=short)
    run = go(plan(tmp_path, trials=4), store, simulation)
    _, second, third, _ = simulation.jobs
    assert second.config == run.reference.config == {"attention_slicing": "max"}
    assert second.output == third.reference
    assert third.config == {"precision": "bf16", "memory_format": "channels_last"}


def test_the_best_config_is_found_within_a_few_trials(tmp_path, store):
    run = go(plan(tmp_path, trials=15), store)
    assert len(run.trials) == 15
    assert best(run.trials, UNLIMITED).config == BEST


def test_every_trial_is_another_legal_config(tmp_path, store):
    aim = plan(tmp_path, trials=16)
    configs = [trial.config for trial in go(aim, store).trials]
    assert len({repr(sorted(config.items())) for config in configs}) == 16
    assert all(aim.space.clash(config) is None for config in configs)


def test_a_budget_rules_out_what_does_not_fit(tmp_path, store):
    run = go(plan(tmp_path, trials=20, budget=Budget(4 * GIB)), store)
    winner = best(run.trials, Budget(4 * GIB))
    assert winner.measurement.peak_bytes <= 4 * GIB
    assert winner.config == {"precision": "bf16", "memory_format": "channels_last"}
    over = [trial for trial in run.trials if trial.judged(Budget(4 * GIB))]
    assert {trial.judged(Budget(4 * GIB)).kind for trial in over} == {FailureKind.OVER_MEMORY}


def test_the_search_turns_to_what_fits(tmp_path, store):
    run = go(plan(tmp_path, trials=24, budget=Budget(2 * GIB)), store)
    fits = [trial.judged(Budget(2 * GIB)) is None for trial in run.trials]
    assert sum(fits[8:]) > sum(fits[:8])


def test_nothing_fits_says_so_with_the_smallest(tmp_path, store):
    run = go(plan(tmp_path, trials=6, budget=Budget(GIB)), store)
    with pytest.raises(TuneError, match=r"nothing fits 1\.00 GiB.*needs 2\.00 GiB \(.*precision"):
        run.tuned()


def test_a_resumed_run_measures_nothing_twice(tmp_path, store):
    first = Simulation()
    go(plan(tmp_path, trials=7), store, first)
    second = Simulation()
    run = go(plan(tmp_path, trials=12), store, second)
    new = [job.config for job in second.jobs if job.cap_s]  # all but that of the drift
    assert (len(first.jobs), len(new), len(run.trials)) == (7, 5, 12)
    assert not any(config in [old.config for old in first.jobs] for config in new)
    third = Simulation()
    assert len(go(plan(tmp_path, trials=12), store, third).trials) == 12
    assert third.jobs == []


def test_another_budget_reuses_what_was_measured(tmp_path, store):
    go(plan(tmp_path, trials=10), store)
    again = Simulation()
    run = go(plan(tmp_path, trials=10, budget=Budget(4 * GIB)), store, again)
    assert again.jobs == []
    assert best(run.trials, Budget(4 * GIB)).measurement.peak_bytes <= 4 * GIB


def test_a_config_that_was_once_over_the_budget_never_wins():
    def measured(number, peak_bytes, latency_s, name="bf16"):
        peak = Peak("host", "steady", "simulated", peak_bytes)
        outcome = Measurement({"steady": (latency_s,)}, (peak,))
        return Trial({"precision": name}, outcome, 1.0, "", number)

    trials = [measured(1, 5 * GIB, 1.0), measured(2, 4 * GIB, 1.0), measured(3, GIB, 2.0, "fp16")]
    assert best(trials, Budget(4 * GIB)).number == 3
    assert best(trials, Budget(5 * GIB)).number == 1


def test_a_later_trial_that_fits_does_not_hide_one_that_did_not(tmp_path, store):
    aim = plan(tmp_path, trials=4, budget=Budget(4 * GIB))
    first = go(aim, store).trials
    large = next(trial for trial in first if trial.exceeds(aim.budget))
    small = replace(large.measurement, peaks=(Peak("host", "steady", "simulated", GIB),))
    context = aim.space.context
    study_id = store.open_study(context.machine, aim.workload, aim.budget, aim.space.choices)
    store.add(study_id, replace(large, outcome=small))
    again = go(aim, store, Simulation()).trials
    (kept,) = (trial for trial in again if trial.config == large.config)
    assert kept.number == large.number


def test_what_ran_out_of_memory_within_a_smaller_budget_is_tried_again(tmp_path, store):
    def fail(config):
        return FailureKind.HOST_OUT_OF_MEMORY if config else None

    go(plan(tmp_path, trials=4, budget=Budget(4 * GIB)), store, Simulation(failing=fail))
    smaller, larger = Simulation(), Simulation()
    go(plan(tmp_path, trials=4, budget=Budget(3 * GIB)), store, smaller)
    assert smaller.jobs == []
    go(plan(tmp_path, trials=4, budget=Budget(5 * GIB)), store, larger)
    assert len(larger.jobs) == 3


def test_the_budget_of_the_host_rules_out_as_well(tmp_path, store):
    budget = Budget(8 * GIB, 4 * GIB)
    run = go(plan(tmp_path, trials=20, budget=budget), store)
    assert best(run.trials, budget).measurement.host_peak_bytes <= 4 * GIB
    assert run.tuned().host_memory_bytes == 4 * GIB
    with pytest.raises(TuneError, match=r"nothing fits 1\.00 GiB on the host.*raise --host-memory"):
        go(plan(tmp_path, trials=3, budget=Budget(host_bytes=GIB)), store).tuned()


def test_every_trial_tells_the_search_the_same_constraints(tmp_path):
    space = plan(tmp_path).space
    study = Study(space, Budget(4 * GIB, 8 * GIB), seed=0)
    peak = Peak("host", "steady", "simulated", 6 * GIB)
    outcomes = [
        Measurement({"steady": (1.0,)}, (peak,)),
        Failure(FailureKind.HOST_OUT_OF_MEMORY, "", peak_bytes=12 * GIB),
        Failure(FailureKind.DEVICE_OUT_OF_MEMORY, "", peak_bytes=3 * GIB),
        Failure(FailureKind.HOST_OUT_OF_MEMORY, ""),
        Failure(FailureKind.CRASH, ""),
    ]
    found = [study.constraints(Trial({}, outcome, 1.0, "")) for outcome in outcomes]
    assert {tuple(told) for told in found} == {("memory", "host_memory", "runs", "quality")}
    assert [tuple(told.values())[:3] for told in found] == [
        (0.5, -0.25, -1.0),
        (2.0, 0.5, 1.0),
        (1.0, -1.0, 1.0),
        (1.0, 1.0, 1.0),
        (-1.0, -1.0, 1.0),
    ]


def test_a_lost_reference_is_measured_again(tmp_path, store):
    aim = plan(tmp_path, trials=4)
    go(aim, store)
    aim.reference.unlink()
    again = Simulation()
    go(aim, store, again)
    assert [job.config for job in again.jobs] == [{}]
    assert aim.reference.exists()


class PacedMachine(Simulation):
    """Its trials tell a better pace than the one before."""

    def outcome(self, config, job):
        found = super().outcome(config, job)
        pace = Condition(BEST_PACE, 1.0 / len(self.jobs))
        return replace(found, conditions=(pace,))


def test_each_trial_is_told_the_best_pace_of_this_run(tmp_path, store):
    simulation = PacedMachine()
    go(plan(tmp_path, trials=4), store, simulation)
    told = [job.pace_s for job in simulation.jobs]
    assert told[0] is None
    assert told[1:] == [1.0 / number for number in range(1, len(told))]
    # Another day it may be another machine under the same name.
    later = PacedMachine()
    go(plan(tmp_path, trials=6), store, later)
    assert later.jobs[0].pace_s is None


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
    assert run.reference == run.trials[1]
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


def test_calls_are_capped_by_the_best_and_given_up_by_the_baseline(tmp_path, store):
    simulation = Simulation()
    run = go(plan(tmp_path, trials=6), store, simulation)
    assert (simulation.jobs[0].cap_s, simulation.deadlines[0].call_s) == (None, None)
    assert simulation.jobs[1].cap_s == pytest.approx(1.5 * 10.0)
    fastest_s = min(trial.measurement.latency_s for trial in run.trials[:-1])
    assert simulation.jobs[-1].cap_s == pytest.approx(1.5 * fastest_s)
    assert simulation.deadlines[-1].call_s == pytest.approx(2 * 20.0 + 5.0)


def test_an_interrupt_keeps_what_was_measured(tmp_path, store):
    simulation = Simulation()

    def interrupted(job, deadlines, on_phase):
        if len(simulation.jobs) == 3:
            raise KeyboardInterrupt
        return simulation(job, deadlines, on_phase)

    run = go(plan(tmp_path), store, interrupted)
    assert run.interrupted
    assert len(run.trials) == len(store.trials()) == 3
    assert run.tuned().tuned["latency_s"] == best(run.trials, UNLIMITED).measurement.latency_s


def test_pins_hold_in_every_trial_but_the_baseline(tmp_path, store):
    run = go(plan(tmp_path, trials=8, fix={"precision": "bf16"}), store)
    assert run.trials[0].config == {}
    assert all(trial.config["precision"] == "bf16" for trial in run.trials[1:])
    assert run.tuned().config["precision"] == "bf16"


def test_a_small_space_is_searched_to_its_end(tmp_path, store):
    run = go(plan(tmp_path, trials=50, include=("precision", "memory_format")), store)
    assert len(run.trials) == 6


def test_with_everything_pinned_there_is_one_trial_beside_the_baseline(tmp_path, store):
    run = go(plan(tmp_path, fix={"precision": "bf16"}, include=("precision",)), store)
    assert [trial.config for trial in run.trials] == [{}, {"precision": "bf16"}]


def test_no_trial_begins_after_the_time_limit(tmp_path, store):
    simulation = Simulation()
    go(plan(tmp_path, time_limit_s=0.0001), store, simulation)
    assert [job.config for job in simulation.jobs] == [{}]


def test_trials_are_yielded_once_they_are_in_the_ledger(tmp_path, store):
    for count, trial in enumerate(tune(plan(tmp_path, trials=3), store, Simulation(), Quiet()), 1):
        assert store.trial(trial.number).trial.config == trial.config
        assert len(store.trials()) == count


def test_what_is_measured_too_far_cannot_win(tmp_path, store):
    unlike = Simulation(unlike=lambda config: config.get("precision") == "bf16")
    run = go(plan(tmp_path, trials=10), store, unlike)
    assert run.tuned().config == best(run.trials, Budget(quality=Tier.NEAR)).config
    assert "precision" not in run.tuned().config
    judged = [trial.judged(Budget(quality=Tier.NEAR)) for trial in run.trials]
    (kind,) = {failure.kind for failure in judged if failure}
    assert kind is FailureKind.TOO_FAR
    assert "the image is lossy, not near: PSNR 22.0 dB, SSIM 0.800" in {
        failure.message for failure in judged if failure
    }
    kept = [stored.trial for stored in store.trials() if stored.trial.config == {}]
    assert [trial.budget.quality for trial in kept] == [Tier.NEAR]


def test_nothing_that_keeps_the_image_says_so(tmp_path, store):
    unlike = Simulation(unlike=lambda config: bool(config))
    run = go(plan(tmp_path, trials=4, fix={"precision": "bf16"}), store, unlike)
    with pytest.raises(TuneError, match=r"nothing keeps the image: .*lossy, not near.*--quality"):
        run.tuned()


def test_the_search_turns_to_what_keeps_the_image(tmp_path):
    def in_bf16(simulation, history):
        with Store(str(tmp_path / history)) as kept:
            trials = go(plan(tmp_path, trials=16), kept, simulation).trials
        return sum(trial.config.get("precision") == "bf16" for trial in trials)

    unlike = Simulation(unlike=lambda config: config.get("precision") == "bf16")
    assert in_bf16(unlike, "unlike.db") < in_bf16(Simulation(), "alike.db")


def test_the_front_is_what_could_win_under_some_budget(tmp_path, store):
    run = go(plan(tmp_path, trials=20), store)
    kept = front(run.trials)
    for budget_bytes in (2 * GIB, 4 * GIB, 6 * GIB, 8 * GIB):
        winner = best(run.trials, Budget(budget_bytes))
        assert winner in kept
    assert len(kept) < len(run.trials)


def test_pictures_of_what_could_never_win_are_thrown_away(tmp_path, store):
    class Painting(Simulation):
        def __call__(self, job, deadlines, on_phase):
            path = Path(job.pictures)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
            return super().__call__(job, deadlines, on_phase)

    run = go(plan(tmp_path, trials=10), store, Painting())
    folder = run.plan.reference.with_suffix("")
    assert len(list(folder.iterdir())) == 10
    run.forget_pictures()
    kept = {run.plan.pictures(trial.config) for trial in front(run.trials)}
    assert set(folder.iterdir()) == kept
