"""A config: what it changes, and the steps that apply it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_space.build import Build
from search_space.catalog import all_knobs, check_known
from search_space.knob import Choice, Knob, Stage
from search_space.trial import Config


def environment(config: Config) -> dict[str, str]:
    """The variables that must be set before the process of this config starts."""
    wanted = [step.choice.environment(step.choice.value) for step in steps(config)]
    return {name: value for variables in wanted for name, value in variables.items()}


def final_call(config: Config, call: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the pipeline call once the knobs that change the call have acted."""
    build = Build("", "", dict(call), Path())
    for step in steps(config):
        if step.stage is Stage.CALL:
            step.apply(build)
    return build.call


def makes_another_image(config: Config) -> bool:
    """Whether a choice of the config changes the image by design."""
    return any(step.choice.another_image for step in steps(config))


def changes(config: Config, knobs: Iterable[Knob] | None = None) -> dict[str, str]:
    """The config without the knobs that stand at their first choice: its canonical form."""
    first = {knob.name: knob.choices[0].value for knob in knobs or all_knobs()}
    return {name: value for name, value in sorted(config.items()) if first.get(name) != value}


def completed(config: Config) -> dict[str, str]:
    """The config with every knob named."""
    return {knob.name: knob.choices[0].value for knob in all_knobs()} | dict(config)


@dataclass(frozen=True)
class Step:
    """One choice that acts on the pipeline in the making."""

    stage: Stage
    name: str
    choice: Choice

    def apply(self, build: Build) -> None:
        """Let the choice act."""
        self.choice.apply(build, self.choice.value)

    def effect(self, build: Build) -> str | None:
        """None where the choice is seen to act, otherwise what was seen instead."""
        return self.choice.effect(build, self.choice.value)


def steps(config: Config) -> tuple[Step, ...]:
    """The choices of a config that act, in order; raises UsageError on an unknown one."""
    for name, value in config.items():
        check_known(name, value)
    return tuple(
        Step(knob.stage, knob.name, knob.choice(config[knob.name]))
        for knob in all_knobs()
        if config.get(knob.name, knob.choices[0].value) != knob.choices[0].value
    )
