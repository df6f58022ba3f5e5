"""Calls that make several images: what they may take."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search_space.budget import UNLIMITED
from search_space.build import Build
from search_space.config import steps
from search_space.construct import no_effect
from search_space.space import Space
from search_space.trial import Measurement
from storage import Store
from tests.tuner.simulation import Quiet, Simulation, context
from tuner.records.objective import Objective
from tuner.records.plan import Plan
from tuner.run import Run


class Images(Simulation):
    """A call of more images takes longer, but each image of it 0.8 of the time."""

    def outcome(self, config, job):
        found = super().outcome(config, job)
        assert isinstance(found, Measurement)
        images = int(config.get("batch", "times-1").removeprefix("times-"))
        share = 1.0 if images == 1 else 0.8
        steady_s = tuple(images * share * call_s for call_s in found.seconds["steady"])
        seconds = {**found.seconds, "steady": steady_s}
        counted = job.workload.counted(images)
        return replace(found, seconds=seconds, images=images, counted=counted)


def test_a_call_of_more_images_may_take_so_many_times_longer(tmp_path):
    space = Space(context(throughput=True), include=("batch",))
    objective = Objective("throughput")
    plan = Plan(space, UNLIMITED, 4, None, 600.0, tmp_path / "cache", objective=objective)
    simulation = Images()
    with Store(str(tmp_path / "history.db")) as store:
        run = Run(plan)
        run.go(store, simulation, Quiet())
    limits = {
        job.config.get("batch", "as-asked"): limit.call_s
        for job, limit in zip(simulation.jobs, simulation.deadlines, strict=True)
        if limit.call_s is not None
    }
    slowest_s = run.trials[0].measurement.seconds["first_call"][0]
    assert limits["times-2"] == pytest.approx(2 * 2 * slowest_s + 5.0)
    assert limits["times-8"] == pytest.approx(2 * 8 * slowest_s + 5.0)
    latencies_s = [trial.measurement.latency_s for trial in run.trials]
    assert latencies_s[1:] == pytest.approx([0.8 * latencies_s[0]] * (len(latencies_s) - 1))


@pytest.mark.parametrize("asked", [1, 2, 8])
def test_a_batch_that_did_not_grow_is_seen(asked, tmp_path):
    prompt = "a lake" if asked == 1 else ["a lake"] * asked
    build = Build("", "cpu", {"prompt": prompt}, tmp_path)
    config = {"batch": "times-2"}
    assert no_effect(build, config) is not None
    [step] = steps(config)
    step.apply(build)
    assert no_effect(build, config) is None
    build.call["prompt"] = ["a lake"] * asked
    assert no_effect(build, config).endswith(f"holds {asked} prompts, not 2 times those asked for")
