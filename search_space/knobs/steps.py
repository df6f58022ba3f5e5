"""Fewer denoising steps."""

from __future__ import annotations

from search_space.build import Build
from search_space.knob import STEP, Choice, Context, Need, Stage, Tier, knob
from search_space.needs import every, lossy_steps, need

SHARES = {"three-quarters": 0.75, "half": 0.5}
"""A coarse scale: each share makes another image, which is not compared, so only the user can say
whether it is worth the time that it saves."""

FEWEST_STEPS = 4
"""A share of fewer saves little time, and only distilled models make an image in so few."""


def fewer_steps(step_count: int, choice: str) -> int:
    """The share of the steps, rounded up."""
    return -int(-step_count * SHARES[choice] // 1)


def steps_to_spare(choice: str) -> Need:
    @need(f"{FEWEST_STEPS} steps or more that are left")
    def steps_left(context: Context) -> str | None:
        step_count = context.workload.steps
        if step_count is None:
            return "the workload does not say how many steps there are"
        if fewer_steps(step_count, choice) >= FEWEST_STEPS:
            return None
        return f"of {step_count} steps fewer than {FEWEST_STEPS} would be left"

    return every(steps_left, lossy_steps)


def steps_effect(build: Build, choice: str) -> str | None:
    target = build.evidence.get("steps_chosen")
    actual = build.pipe.scheduler.num_inference_steps
    if target is None:
        return f"the scheduler made the {actual} steps that were asked for"
    return None if actual == target else f"the scheduler made {actual} steps, not {target}"


@knob(
    Stage.CALL,
    choices=(
        Choice("as-asked"),
        *(
            Choice(
                choice, steps_to_spare(choice), Tier.LOSSY, another_image=True, steps_differ=True
            )
            for choice in SHARES
        ),
    ),
    effect=steps_effect,
    run_on=("cpu",),
    parts=STEP,
)
def steps(build: Build, choice: str) -> None:
    """A share of the steps that the workload asks for: by design another image."""
    target = fewer_steps(build.call["num_inference_steps"], choice)
    build.call["num_inference_steps"] = build.evidence["steps_chosen"] = target
