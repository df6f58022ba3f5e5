"""What a run makes of budgets of memory and of quality."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from search_space.budget import Budget
from search_space.config import Config
from search_space.errors import TuneError
from search_space.knob import Tier
from search_space.trial import Failure, FailureKind, Measurement, Peak, Trial
from storage import Store
from tests.tuner.simulation import GIB, Simulation, go, plan
from tuner.records.objective import best, front
from tuner.search.optuna.study import Study


@pytest.mark.heavy
def test_a_budget_rules_out_what_does_not_fit(tmp_path, store):
    run = go(plan(tmp_path, trials=20, budget=Budget(4 * GIB)), store)
    winner = best(run.trials, Budget(4 * GIB))
    assert winner.measurement.peak_bytes <= 4 * GIB
    assert winner.config == {"precision": "bf16", "memory_format": "channels_last"}
    over = [trial for trial in run.trials if trial.judged(Budget(4 * GIB))]
    assert {trial.judged(Budget(4 * GIB)).kind for trial in over} == {FailureKind.OVER_MEMORY}


@pytest.mark.heavy
def test_the_search_turns_to_what_fits(tmp_path, store):
    budget = Budget(int(2.3 * GIB))
    run = go(plan(tmp_path, trials=24, budget=budget), store)
    fits = [trial.judged(budget) is None for trial in run.trials]
    assert sum(fits[1:6]) >= 3
    assert best(run.trials, budget).config == {
        "precision": "bf16",
        "memory_format": "channels_last",
    }


@pytest.mark.heavy
def test_nothing_fits_says_so_with_the_smallest(tmp_path, store):
    run = go(plan(tmp_path, trials=6, budget=Budget(GIB)), store)
    with pytest.raises(TuneError, match=r"nothing fits 1\.00 GiB.*needs 2\.00 GiB \(.*precision"):
        run.tuned()


@pytest.mark.heavy
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
        return Trial(Config({"precision": name}), outcome, 1.0, "", number)

    trials = [measured(1, 5 * GIB, 1.0), measured(2, 4 * GIB, 1.0), measured(3, GIB, 2.0, "fp16")]
    assert best(trials, Budget(4 * GIB)).number == 3
    assert best(trials, Budget(5 * GIB)).number == 1


def test_a_later_trial_that_fits_does_not_hide_one_that_did_not(tmp_path, store):
    aim = plan(tmp_path, trials=8, budget=Budget(4 * GIB))
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


@pytest.mark.heavy
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
    found = [study.constraints(Trial(Config({}), outcome, 1.0, "")) for outcome in outcomes]
    assert {tuple(told) for told in found} == {("memory", "host_memory", "runs", "quality")}
    assert [tuple(told.values())[:3] for told in found] == [
        (0.5, -0.25, -1.0),
        (2.0, 0.5, 1.0),
        (1.0, -1.0, 1.0),
        (1.0, 1.0, 1.0),
        (-1.0, -1.0, 1.0),
    ]


@pytest.mark.heavy
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


@pytest.mark.heavy
def test_the_search_turns_to_what_keeps_the_image(tmp_path):
    def in_bf16(simulation, history):
        with Store(str(tmp_path / history)) as kept:
            trials = go(plan(tmp_path, trials=16), kept, simulation).trials
        return sum(trial.config.get("precision") == "bf16" for trial in trials)

    unlike = Simulation(unlike=lambda config: config.get("precision") == "bf16")
    assert in_bf16(unlike, "unlike.db") < in_bf16(Simulation(), "alike.db")


@pytest.mark.heavy
def test_the_front_is_what_could_win_under_some_budget(tmp_path, store):
    run = go(plan(tmp_path, trials=20), store)
    kept = front(run.trials)
    for budget_bytes in (2 * GIB, 4 * GIB, 6 * GIB, 8 * GIB):
        winner = best(run.trials, Budget(budget_bytes))
        assert winner in kept
    assert len(kept) < len(run.trials)


@pytest.mark.heavy
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
