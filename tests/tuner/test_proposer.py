"""What a search tries next, why, and when it ends by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search_space.budget import UNLIMITED, Budget
from search_space.config import BASELINE, Config
from search_space.proposal import Proposal, Reason
from search_space.trial import FailureKind
from tests.tuner.simulation import BEST, GIB, Simulation, go, plan
from tuner.records.objective import LATENCY
from tuner.records.progress import Ending
from tuner.search.prior import CALL, NOTHING, Effect, Prior
from tuner.search.proposer import Proposer

FAST = ("engine", "compile-default")
PRIOR = Prior({(CALL, *FAST): Effect(-1.0, 0.1), (CALL, "precision", "fp16"): Effect(2.0, 0.1)})


def proposer(tmp_path, prior=NOTHING, budget=UNLIMITED):
    return Proposer(plan(tmp_path).space, budget, LATENCY, 0, prior)


@pytest.fixture
def trials(tmp_path, store):
    return go(plan(tmp_path, trials=5), store).trials


def test_the_prior_comes_first_and_says_so(tmp_path, store):
    baseline = go(plan(tmp_path, trials=1), store).trials
    first = proposer(tmp_path, PRIOR).next(baseline)
    assert isinstance(first, Proposal)
    assert FAST in first.config.items()
    assert "fp16" not in first.config.values()
    assert first.reason is Reason.PRIOR
    assert first.expected.low < 2.7 < first.expected.high


def test_without_a_budget_that_anything_fits_what_spares_memory_comes_first(tmp_path, store):
    budget = Budget(3 * GIB)
    baseline = go(plan(tmp_path, trials=1, budget=budget), store).trials
    first = proposer(tmp_path, budget=budget).next(baseline)
    assert first.reason is Reason.SPARING
    assert first.expected.peak_ratio < 1
    assert "engine" not in first.config or first.config["engine"].startswith("compile")


def test_nothing_is_proposed_that_was_tried_or_that_takes_too_long(tmp_path, trials):
    ours = proposer(tmp_path)
    proposed = ours.next(trials)
    assert proposed.config not in {trial.config for trial in trials}
    within = ours.next(trials, proposed.expected.cost_s * 0.999)
    assert isinstance(within, Ending) or within.expected.cost_s < proposed.expected.cost_s
    assert ours.next(trials, 0.0) is Ending.TIME


def test_a_prediction_is_made_where_something_is_known(tmp_path):
    assert proposer(tmp_path).prediction() is None
    prediction = proposer(tmp_path, PRIOR).prediction()
    assert FAST in prediction.config.items()
    assert prediction.config != BASELINE


def test_a_search_ends_when_nothing_is_worth_a_trial(tmp_path, store):
    run = go(plan(tmp_path, trials=60), store)
    assert run.ending is Ending.CONVERGED
    assert len(run.trials) < 30
    assert run.tuned().config == BEST


def test_what_crashes_is_not_tried_again_and_again(tmp_path, store):
    def fail(config):
        return FailureKind.CRASH if config.get("precision") == "bf16" else None

    run = go(plan(tmp_path, trials=30), store, Simulation(failing=fail))
    crashed = [trial.config for trial in run.trials if trial.measurement is None]
    assert 1 <= len(crashed) <= 3
    best = {"engine": "compile-default", "memory_format": "channels_last"}
    assert run.tuned().config == best


def test_a_target_ends_the_search(tmp_path, store):
    run = go(replace(plan(tmp_path, trials=40), target_speedup=2.0), store)
    assert run.ending is Ending.TARGET
    *before, last = run.trials
    assert last.measurement.latency_s <= run.baseline.measurement.latency_s / 2
    assert all(trial.measurement is None or trial.measurement.latency_s > 5.0 for trial in before)


def test_every_trial_of_a_search_says_why_it_was_proposed(trials, store):
    baseline, *searched = [store.trial(trial.number).trial for trial in trials]
    assert baseline.proposal is None
    for trial in searched:
        assert trial.proposal.config == trial.config
        assert trial.proposal.reason is not Reason.SAMPLER
        assert trial.proposal.expected.feasible <= 1


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random", "exhaustive"])
@pytest.mark.heavy
def test_samplers_of_optuna_take_the_place_of_ours(tmp_path, store, sampler):
    run = go(replace(plan(tmp_path, trials=7), sampler=sampler), store)
    configs = [trial.config for trial in run.trials]
    assert len(set(configs)) == 7
    assert all(isinstance(config, Config) for config in configs)
    assert {trial.proposal.reason for trial in run.trials[1:]} == {Reason.SAMPLER}
