from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from search_space.config import BASELINE, Config
from search_space.trial import Measurement
from storage import Store
from tests.benchmarks.search.enumeration import Configs
from tests.benchmarks.search.kept import Kept, read, write
from tests.benchmarks.search.machines import MACHINES, TRAINING, draw_machine
from tests.benchmarks.search.replaying import Timed, replay
from tests.benchmarks.search.report import table
from tests.benchmarks.search.spaces import SMALL
from tests.benchmarks.search.strategies import STRATEGIES
from tests.tuner.test_replay import job
from tuner.bench import Bench
from tuner.records.progress import Progress
from tuner.runners.base import Deadlines
from tuner.runners.replay import ReplayRunner
from tuner.search.loop import Search


def combinations(space):
    for values in product(*space.open.values()):
        yield dict(zip(space.open, values, strict=True))


@pytest.mark.parametrize("number", [0, 3, 8])
def test_the_optimum_by_enumeration_is_that_of_trying_all_one_by_one(number):
    machine = draw_machine(number, SMALL)
    held = [
        Config(choices) for choices in combinations(machine.space) if machine.space.holds(choices)
    ]
    assert len(held) == len(machine.valid)
    assert set(held) == {machine.valid.config(row) for row in range(len(machine.valid))}
    latencies_s = {config: machine.true_latency_s(config) for config in held}
    feasible_s = {config: each for config, each in latencies_s.items() if each is not None}
    config, latency_s = machine.optimum
    assert latency_s == pytest.approx(min(feasible_s.values()))
    assert feasible_s[config] == pytest.approx(latency_s)


@pytest.mark.parametrize("number", [1, 2])
def test_a_replayed_trial_is_feasible_where_the_truth_is(number, tmp_path):
    machine = draw_machine(number, SMALL)
    plan = machine.plan(1, Path(tmp_path))
    runner = ReplayRunner(machine)
    for row in range(0, len(machine.valid), max(1, len(machine.valid) // 200)):
        config = machine.valid.config(row)
        each = job(config, device=machine.landscape.memory.device, budget=plan.budget)
        trial = runner(each, Deadlines(3600.0), lambda phase: None)
        latency_s = machine.true_latency_s(config)
        assert (trial.judged(plan.budget) is None) == (latency_s is not None)
        if latency_s is not None:
            assert trial.measurement.latency_s == pytest.approx(latency_s)


def test_the_parts_of_a_recorded_call_add_up_to_it_but_for_the_rest():
    machine = draw_machine(0, SMALL)
    outcome = machine.recorded(machine.optimum[0]).outcome
    assert isinstance(outcome, Measurement)
    seconds = outcome.seconds
    parts_s = sum(sum(seconds[part]) for part in ("text_encoding", "step", "decode"))
    assert parts_s + machine.landscape.times.rest_s == pytest.approx(seconds["steady"][0])


def test_a_machine_is_always_the_same_and_no_two_are():
    draw_machine.cache_clear()
    first = draw_machine(5, SMALL)
    draw_machine.cache_clear()
    again = draw_machine(5, SMALL)
    assert first is not again
    assert (first.optimum, first.memory_bytes) == (again.optimum, again.memory_bytes)
    assert first.optimum != draw_machine(6, SMALL).optimum


def test_a_third_of_the_machines_is_unlike_the_family_and_none_that_a_prior_is_made_of():
    assert sum(number % 3 == 2 for number in range(MACHINES)) == MACHINES // 3
    assert all(draw_machine(number, SMALL).unlike for number in (2, 5))
    assert not draw_machine(TRAINING + 1, SMALL).unlike


def test_the_baseline_neither_crashes_nor_is_too_far():
    for number in range(6):
        machine = draw_machine(number, SMALL)
        assert machine.landscape.works(Configs.of(machine.space, BASELINE))[0]


@pytest.mark.parametrize("strategy", ["random", "descent", "tpe"])
def test_a_search_is_replayed_and_the_same_again(strategy):
    first, again = (replay(draw_machine(4, SMALL), strategy, 1, 12) for _ in range(2))
    assert first.fractions == again.fractions
    assert first.charged_s == again.charged_s
    assert len(first.fractions) == 12
    assert list(first.charged_s) == sorted(first.charged_s)
    assert all(0 <= fraction <= 1 for fraction in first.fractions)
    assert first.fractions[-1] > 0


@pytest.mark.parametrize(
    ("strategy", "package"),
    [
        ("smac", "smac"),
        ("botorch", "botorch"),
        ("kt-bayes", "kernel_tuner"),
        ("kt-genetic", "kernel_tuner"),
        ("kt-ils", "kernel_tuner"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_rival_tries_valid_configs_and_none_twice(strategy, package, tmp_path):
    pytest.importorskip(package, reason="the extra rivals is not installed")
    machine = draw_machine(4, SMALL)
    plan = machine.plan(12, tmp_path, 1)
    trials = list(trials_of(machine, plan, STRATEGIES[strategy](plan)))
    configs = [trial.config for trial in trials]
    assert len(configs) == len(set(configs)) == 12
    assert all(machine.space.holds(config) for config in configs)


def trials_of(machine, plan, proposer):
    run = ReplayRunner(machine)
    with Store("sqlite://") as store, Bench(plan, store, run, Progress()) as bench:
        yield from Search(bench, Timed(proposer)).run()


def test_curves_are_kept_and_those_of_some_strategies_replaced(tmp_path):
    machine = draw_machine(0, SMALL)
    names = "random", "descent"
    curves = [replay(machine, name, seed, 6) for name in names for seed in range(2)]
    kept = Kept().with_curves(curves, "the command")
    write(tmp_path / "kept.json.gz", kept)
    again = read(tmp_path / "kept.json.gz")
    assert table(again.curves) == table(curves)
    assert again.made["random"].command == "the command"
    assert again.has("random", machine.name, 1)
    assert not again.has("random", machine.name, 2)
    left = again.without(["random"])
    assert {curve.strategy for curve in left.curves} == set(left.made) == {"descent"}


def test_the_table_has_a_row_for_each_strategy():
    machines = [draw_machine(number, SMALL) for number in (0, 3)]
    curves = [
        replay(machine, name, 0, 10) for name in ("random", "descent") for machine in machines
    ]
    rows = [line.split(" | ")[0] for line in table(curves).splitlines()[2:]]
    assert rows == ["| random", "| descent"]
