"""A config: what it changes, and the steps that apply it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from search_space.build import Build
from search_space.catalog import all_knobs, check_known
from search_space.identity import fingerprint
from search_space.knob import Choice, Stage


class Config(Mapping[str, str]):
    """What differs from the pipeline as diffusers makes it: knob to choice, sorted by knob.

    A knob that is not named stands at its first choice, and naming that changes nothing: equal
    configs are equal, however they were written. A config never changes and can be a key.
    """

    def __init__(self, choices: Mapping[str, str] = MappingProxyType({})) -> None:
        # Without choices nothing needs to be known of knobs, which are imported when asked for.
        first = _first_choices() if choices else {}
        changed = ((name, value) for name, value in choices.items() if first.get(name) != value)
        self._changes = dict(sorted(changed))

    def __getitem__(self, knob: str) -> str:
        return self._changes[knob]

    def __iter__(self) -> Iterator[str]:
        return iter(self._changes)

    def __len__(self) -> int:
        return len(self._changes)

    def __hash__(self) -> int:
        return hash(tuple(self._changes.items()))

    def __repr__(self) -> str:
        return f"Config({self._changes})"

    @property
    def changes(self) -> dict[str, str]:
        """Knob to choice, for JSON."""
        return dict(self._changes)

    @property
    def is_baseline(self) -> bool:
        """Whether nothing is changed."""
        return not self._changes

    @property
    def key(self) -> str:
        """32 hexadecimal digits, equal for equal configs: part of the names of files."""
        return fingerprint(self._changes).removeprefix("b2:")

    def within(self, other: Config) -> bool:
        """Whether all that it changes is changed alike by the other."""
        return self._changes.items() <= other._changes.items()

    def without(self, *knobs: str) -> Config:
        """The config with these knobs at their first choice."""
        return Config({name: value for name, value in self.items() if name not in knobs})

    def describe(self) -> str:
        """``memory_format=channels_last, precision=bf16``, or ``baseline``."""
        return ", ".join(f"{name}={value}" for name, value in self.items()) or "baseline"


@cache
def _first_choices() -> dict[str, str]:
    return {knob.name: knob.choices[0].value for knob in all_knobs()}


BASELINE = Config()


def environment(config: Mapping[str, str]) -> dict[str, str]:
    """The variables that must be set before the process of this config starts."""
    variable_sets = [step.choice.environment(step.choice.value) for step in steps(config)]
    return {name: value for variables in variable_sets for name, value in variables.items()}


ALWAYS = ("torch", "diffusers", "transformers", "cuda", "rocm")
"""What every pipeline is built with; torch may be built for the last two."""


def packages(config: Mapping[str, str]) -> tuple[str, ...]:
    """The packages by which the pipeline is built, and those that the config's choices need."""
    needs = [need for step in steps(config) for need in step.choice.need.each]
    return tuple(dict.fromkeys([*ALWAYS, *(name for need in needs for name in need.packages)]))


def probes(config: Mapping[str, str]) -> tuple[str, ...]:
    """The probes that decide whether the config's choices are available."""
    needs = [need for step in steps(config) for need in step.choice.need.each]
    return tuple(sorted({name for need in needs for name in need.probes}))


def final_call(config: Mapping[str, str], call: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the pipeline call once the knobs that change the call have acted."""
    build = Build("", "", dict(call), Path())
    for step in steps(config):
        if step.stage is Stage.CALL:
            step.apply(build)
    return build.call


def makes_another_image(config: Mapping[str, str]) -> bool:
    """Whether a choice of the config changes the image by design."""
    return any(step.choice.another_image for step in steps(config))


def steps_cost_alike(config: Mapping[str, str]) -> bool:
    """Whether a call of many steps can be told from one of a few."""
    return not any(step.choice.steps_differ for step in steps(config))


def completed(config: Mapping[str, str]) -> dict[str, str]:
    """The config with every knob named."""
    return _first_choices() | dict(config)


@dataclass(frozen=True)
class Step:
    """One choice that acts on the pipeline in the making."""

    stage: Stage
    name: str
    choice: Choice

    def apply(self, build: Build) -> None:
        self.choice.apply(build, self.choice.value)

    def effect(self, build: Build) -> str | None:
        """None where the choice acts, otherwise the sentence that says why it does not."""
        return self.choice.effect(build, self.choice.value)


def steps(config: Mapping[str, str]) -> tuple[Step, ...]:
    """The choices of a config that act, in order; raises UsageError on an unknown one."""
    for name, value in config.items():
        check_known(name, value)
    return tuple(
        Step(knob.stage, knob.name, knob.choice(config[knob.name]))
        for knob in all_knobs()
        if config.get(knob.name, knob.choices[0].value) != knob.choices[0].value
    )
