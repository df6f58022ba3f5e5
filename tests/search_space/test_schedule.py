from __future__ import annotations

from dataclasses import replace

import pytest

from search_space.catalog import check_known
from search_space.config import final_call, makes_another_image
from search_space.knob import Tier
from search_space.knobs.steps import fewer_steps
from search_space.space import Space
from search_space.workload import Workload


@pytest.mark.parametrize(
    ("asked", "three_quarters", "half"), [(8, 6, 4), (20, 15, 10), (50, 38, 25), (7, 6, 4)]
)
def test_a_share_of_the_steps_is_rounded_up(asked, three_quarters, half):
    assert fewer_steps(asked, "three-quarters") == three_quarters
    assert fewer_steps(asked, "half") == half
    call = {"prompt": "a horse", "num_inference_steps": asked}
    assert final_call({"steps": "half"}, call)["num_inference_steps"] == half


def test_at_least_four_steps_are_left(describe):
    def need(value: str, steps: int | None) -> str | None:
        context = describe(workload=Workload("sd15-tiny", steps=steps))
        return check_known("steps").choice(value).need(context)

    assert need("half", 7) is None
    assert need("half", 6) == "of 6 steps fewer than 4 would be left"
    assert need("three-quarters", 5) is None
    assert need("half", None) == "the workload does not say how many steps there are"


def test_another_image_is_made_only_where_the_user_allows_it(describe):
    context = replace(describe(workload=Workload("sd15-tiny", steps=20)), quality=Tier.LOSSY)
    allowed, kept = Space(context), Space(replace(context, allow_lossy=False))
    for name in ("scheduler", "steps"):
        assert len(allowed.choices[name]) > 1
        assert len(kept.choices[name]) == 1
        reason = kept.reason(check_known(name), allowed.choices[name][1])
        assert reason == "it makes another image by design: give --allow-lossy"


def test_a_scheduler_is_offered_where_it_can_stand_in(describe):
    knob = check_known("scheduler")
    need = knob.choice("euler").need
    assert need(describe("cpu", "sd15-tiny")) is None
    assert need(describe("cpu", "sdxl-tiny")) == (
        "EulerDiscreteScheduler is the pipeline's own scheduler"
    )
    assert need(describe("cpu", "flux-tiny")) == (
        "EulerDiscreteScheduler cannot stand in for FlowMatchEulerDiscreteScheduler"
    )


def test_flow_is_left_to_the_schedulers_that_know_it(describe):
    context = describe("cpu", "wan-tiny")
    assert context.spec.predicts_flow
    for value in ("ddim", "euler"):
        reason = check_known("scheduler").choice(value).need(context)
        assert reason.endswith("Scheduler does not work with flow, which the denoiser predicts")
    for value in ("deis", "dpm-multistep", "dpm-singlestep"):
        assert check_known("scheduler").choice(value).need(context) is None


def test_which_configs_are_not_asked_for_likeness():
    assert makes_another_image({"steps": "half"})
    assert makes_another_image({"precision": "bf16", "scheduler": "unipc"})
    assert not makes_another_image({"precision": "bf16", "cache": "first-block-0.1"})
    assert not makes_another_image({"steps": "as-asked"})
