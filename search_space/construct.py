"""From a config to a pipeline: the one way, for the trial's child and for the application."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from search_space.build import Build
from search_space.config import steps
from search_space.knob import Stage

Before = Callable[[Stage], None]


def construct(build: Build, config: Mapping[str, str], before: Before | None = None) -> Any:
    """Let the config act on the build, stage by stage, and return the pipeline.

    ``before`` is called ahead of each step with its stage. Raises what diffusers and the knobs
    raise.
    """
    steps_to_run = steps(config)
    for stage in Stage:
        for step in steps_to_run:
            if step.stage is stage:
                if before is not None:
                    before(stage)
                step.apply(build)
        if stage is Stage.LOAD:
            build.load_pipeline()
        if stage is Stage.PLACEMENT:
            build.place()
    return build.pipe


def no_effect(build: Build, config: Mapping[str, str]) -> str | None:
    """The first choice of the config that does not act, and how that shows; or None."""
    for step in steps(config):
        reason = step.effect(build)
        if reason:
            return f"{step.name}={step.choice.value} had no effect: {reason}"
    return None
