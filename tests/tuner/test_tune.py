from __future__ import annotations

import time
from dataclasses import replace

import pytest

from search_space.budget import UNLIMITED
from search_space.space import Space
from search_space.trial import Failure, FailureKind, Peak
from tests.tuner.simulation import BEST, GIB, Quiet, Simulation, context, go, of, plan
from tuner.bench import Bench
from tuner.measuring.interleaving import possible
from tuner.records.objective import best
from tuner.records.progress import Ending
from tuner.run import Run


def test_the_baseline_comes_first_and_is_the_reference(tmp_path, store):
    simulation = Simulation()
    run = go(plan(tmp_path, trials=5), store, simulation)
    first, second, *_ = simulation.jobs
    assert run.trials[0].config == first.config == {}
    assert run.trials[0].purpose == "baseline"
    assert first.output == second.reference
    assert first.reference is second.output is None
    assert run.trials[0].measurement.psnr_db is None


@pytest.mark.heavy
def test_the_best_config_is_found_within_a_few_trials(tmp_path, store):
    run = go(plan(tmp_path, trials=15), store)
    assert len(run.trials) == 15
    assert best(run.trials, UNLIMITED).config == BEST


@pytest.mark.heavy
def test_every_trial_is_another_legal_config(tmp_path, store):
    aim = plan(tmp_path, trials=16)
    configs = [trial.config for trial in go(aim, store).trials]
    assert len(set(configs)) == len(configs) >= 12
    assert all(aim.space.clash(config) is None for config in configs)


@pytest.mark.heavy
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


def test_a_lost_reference_is_measured_again(tmp_path, store):
    aim = plan(tmp_path, trials=4)
    go(aim, store)
    aim.reference.unlink()
    again = Simulation()
    go(aim, store, again)
    assert [job.config for job in again.jobs] == [{}]
    assert aim.reference.exists()


@pytest.mark.heavy
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


@pytest.mark.heavy
def test_pins_hold_in_every_trial_but_the_baseline(tmp_path, store):
    run = go(plan(tmp_path, trials=8, fix={"precision": "bf16"}), store)
    assert run.trials[0].config == {}
    assert all(trial.config["precision"] == "bf16" for trial in run.trials[1:])
    assert run.tuned().config["precision"] == "bf16"


@pytest.mark.heavy
def test_a_small_space_is_searched_to_its_end(tmp_path, store):
    whole = replace(
        plan(tmp_path, trials=50, include=("precision", "memory_format")), sampler="exhaustive"
    )
    assert len(go(whole, store).trials) == 6


def test_with_everything_pinned_there_is_one_trial_beside_the_baseline(tmp_path, store):
    run = go(plan(tmp_path, fix={"precision": "bf16"}, include=("precision",)), store)
    assert [trial.config for trial in run.trials] == [{}, {"precision": "bf16"}]


def test_no_trial_begins_after_the_time_limit(tmp_path, store):
    simulation = Simulation()
    go(plan(tmp_path, time_limit_s=0.0001), store, simulation)
    assert [job.config for job in simulation.jobs] == [{}]


def test_trials_are_yielded_once_they_are_in_the_ledger(tmp_path, store):
    counted = []

    def seen(trial):
        assert store.trial(trial.number).trial.config == trial.config
        counted.append(len(store.trials()))

    Run(plan(tmp_path, trials=3), seen).go(store, Simulation(), Quiet())
    assert counted == [1, 2, 3]


def test_the_time_limit_starts_after_the_baseline(tmp_path, store):
    class SlowBaseline(Simulation):
        def outcome(self, config, job):
            time.sleep(0 if config else 2.0)
            made = super().outcome(config, job)
            seconds = {
                kind: tuple(sample_s / 1000 for sample_s in samples_s)
                for kind, samples_s in made.seconds.items()
            }
            return replace(made, seconds=seconds)

    simulation = SlowBaseline()
    # The simulation's trials are charged a second: within a limit of less none is begun.
    go(plan(tmp_path, trials=2, time_limit_s=1.9, include=("memory_format",)), store, simulation)
    assert len(simulation.jobs) == 2


@pytest.mark.parametrize(
    ("asked", "ending"),
    [
        ({"trials": 3}, Ending.TRIALS),
        ({"time_limit_s": 0.0001}, Ending.TIME),
        ({"include": ("precision",)}, Ending.EXHAUSTED),
    ],
)
def test_a_run_knows_what_has_ended_its_search(tmp_path, store, asked, ending):
    assert go(plan(tmp_path, **asked), store).ending is ending


@pytest.mark.parametrize(
    ("device", "held_bytes", "together"),
    [
        ("cpu", [2**20, 2**20], possible()),
        ("cpu", [2**20], False),
        ("cpu", [2**20, 2**20 * GIB], False),
        ("cuda", [2**20, 2**20], False),
    ],
    ids=["room", "a single one", "no room", "an accelerator"],
)
def test_trials_live_side_by_side_where_there_is_room(
    tmp_path, store, device, held_bytes, together
):
    planned = replace(plan(tmp_path), space=Space(context(device)))
    with Bench(planned, store, Simulation(), Quiet()) as bench:
        assert bench.side_by_side(held_bytes) is together


class Small(Simulation):
    """Trials for which any machine has room; side by side the largest may be ended for memory."""

    crowded = False

    def outcome(self, config, job):
        peaks = (Peak("host", "steady", "simulated", 2**20),)
        return replace(super().outcome(config, job), peaks=peaks)

    def interleaved(self, jobs, deadlines, on_phase, first_turn):
        for trial in super().interleaved(jobs, deadlines, on_phase, first_turn):
            ended = Failure(FailureKind.HOST_OUT_OF_MEMORY, "it was killed", "load")
            yield replace(trial, outcome=ended) if self.crowded and trial.config else trial


def raced(tmp_path, store, simulation):
    planned = replace(plan(tmp_path, trials=9), race_rounds=2, ablation=False)
    tuned = go(planned, store, simulation).tuned()
    return of(store, "race"), tuned


@pytest.mark.heavy
@pytest.mark.skipif(not possible(), reason="trials do not take turns here")
def test_a_round_is_run_side_by_side(tmp_path, store):
    simulation = Small(noise=0.003)
    trials, _ = raced(tmp_path, store, simulation)
    sizes = [sum(trial.round == number for trial in trials) for number in (1, 2)]
    assert simulation.together[:2] == sizes
    assert len({trial.race for trial in trials}) == 1


@pytest.mark.heavy
@pytest.mark.skipif(not possible(), reason="trials do not take turns here")
def test_what_runs_out_of_memory_beside_others_is_measured_alone(tmp_path, store):
    simulation = Small(noise=0.003)
    simulation.crowded = True
    trials, tuned = raced(tmp_path, store, simulation)
    assert all(trial.measurement is not None for trial in trials)
    assert tuned.config == BEST
    per_round = [(trial.round, repr(trial.config)) for trial in trials]
    assert len(per_round) == len(set(per_round))
