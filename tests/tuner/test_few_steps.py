"""Calls of a few steps in a search's trial of a real pipeline."""

from __future__ import annotations

import pytest

from search_space.config import Config, steps_cost_alike
from search_space.workload import Workload
from tuner.discovery.context import discover
from tuner.measuring.caller import FEW_STEPS, MANY_STEPS
from tuner.processes.children import Children
from tuner.records.job import Job
from tuner.records.request import Request
from tuner.runners.base import Deadlines
from tuner.runners.trial_process import run_trial


@pytest.fixture(scope="module")
def tried(tiny_cache):
    """Runs a trial of the smallest pipeline with so many steps."""
    with Children() as children:

        def run(steps, precise=False, **config):
            workload = Workload("reference:sd15-tiny", "", 64, 64, steps=steps)
            context = discover(children, Request(workload, tiny_cache, "cpu"))
            folder, cache_dir = context.spec.folder, str(tiny_cache)
            job = Job(context.workload, folder, "cpu", Config(config), cache_dir, precise=precise)
            trial = run_trial(children, job, Deadlines(600.0), lambda phase: None)
            assert trial.measurement is not None, trial.outcome
            return trial.measurement.seconds

        yield run


def test_a_search_tells_a_call_of_many_steps_from_a_few(tried):
    seconds = tried(MANY_STEPS)
    assert len(seconds["short"]) == len(seconds["steady"]) >= 3
    # This pipeline's scheduler makes one step more than it is asked for.
    assert len(seconds["step"]) == len(seconds["short"]) * (FEW_STEPS + 1)
    assert all(
        short < told for short, told in zip(seconds["short"], seconds["steady"], strict=True)
    )


@pytest.mark.parametrize(
    "options", [{"steps": MANY_STEPS - 1}, {"steps": MANY_STEPS, "precise": True}]
)
def test_a_race_and_a_call_of_few_steps_are_made_whole(tried, options):
    assert "short" not in tried(**options)


def test_where_steps_differ_a_call_is_made_whole():
    assert steps_cost_alike(Config({"precision": "bf16"}))
    for config in ({"cache": "first-block-0.1"}, {"steps": "half"}, {"scheduler": "ddim"}):
        assert not steps_cost_alike(Config(config)), config
