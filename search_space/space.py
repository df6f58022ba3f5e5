"""The knobs and choices possible here, and the rules between them."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from search_space import knobs as knob_files
from search_space.build import Build
from search_space.errors import UsageError
from search_space.knob import Choice, Context, Knob, MoreChoices, Probe, Stage
from search_space.trial import Config


@cache
def all_knobs() -> tuple[Knob, ...]:
    """Every knob of the package ``search_space.knobs``, in the order in which they act."""
    names = [found.name for found in pkgutil.iter_modules(knob_files.__path__)]
    modules = [importlib.import_module(f"{knob_files.__name__}.{name}") for name in names]
    parts = [part for module in modules for part in vars(module).values()]
    more = [part for part in parts if isinstance(part, MoreChoices)]
    found = [_joined(part, more) for part in parts if isinstance(part, Knob)]
    return tuple(sorted(found, key=lambda knob: (knob.stage, knob.name)))


def _joined(knob: Knob, more: Sequence[MoreChoices]) -> Knob:
    mine = [part for part in more if part.knob == knob.name]
    choices = knob.choices + tuple(choice for part in mine for choice in part.choices)
    parts: tuple[Knob | MoreChoices, ...] = (knob, *mine)
    probes = {name: probe for part in parts for name, probe in part.probes.items()}
    return Knob(knob.name, knob.stage, choices, knob.doc, probes)


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


def all_probes() -> dict[str, Probe]:
    """Every probe that some knob's availability asks for."""
    return {name: probe for knob in all_knobs() for name, probe in knob.probes.items()}


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


def check_known(name: str, value: str | None = None) -> Knob:
    """The knob of that name, which must have the choice; raises UsageError with the nearest."""
    by_name = {knob.name: knob for knob in all_knobs()}
    if name not in by_name:
        raise UsageError(_unknown("knob", name, by_name))
    if value is not None and value not in by_name[name].values:
        raise UsageError(_unknown(f"choice of {name}", value, by_name[name].values))
    return by_name[name]


def check_pins(fix: Mapping[str, str], names: Iterable[str]) -> None:
    """Raise UsageError where a pin names a knob or a choice that there is not."""
    for name in names:
        check_known(name)
    for name, value in fix.items():
        check_known(name, value)


def check_agreement(
    fix: Sequence[tuple[str, str]], include: Sequence[str], exclude: Sequence[str]
) -> None:
    """Raise UsageError where pins name what there is not, or one pin contradicts another."""
    check_pins({}, (*include, *exclude))
    fixed: dict[str, str] = {}
    for name, value in fix:
        check_known(name, value)
        if fixed.setdefault(name, value) != value:
            raise UsageError(f"{name} is fixed twice, at {fixed[name]} and at {value}: choose one")
    for name in exclude:
        if name in include or name in fixed:
            how = "included" if name in include else "fixed"
            raise UsageError(f"{name} is both {how} and excluded: choose one")


def _unknown(kind: str, given: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"there is no {kind} {given!r}: {hint}There are {', '.join(known)}"


def too_far(choice: Choice, context: Context) -> str | None:
    """Why the choice moves the image further than the user allows, or None."""
    if context.quality.allows(choice.tier):
        return None
    tier = choice.tier.value
    return f"it is {tier}, the search keeps to {context.quality.value}: give --quality {tier}"


class Space:
    """What can be tried here: each knob's available choices, less what the user has pinned."""

    def __init__(
        self,
        context: Context,
        fix: Mapping[str, str] | None = None,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> None:
        """Raise UsageError where a pin names something unknown or cannot hold."""
        self.context = context
        self.knobs = all_knobs()
        self.fix = dict(fix or {})
        check_pins(self.fix, (*include, *exclude))
        for name, value in self.fix.items():
            self._check_fix(name, value)
        clash = self.clash(self.fix)
        if clash:
            raise UsageError(f"the fixed choices exclude each other: {clash}")
        self.choices: dict[str, tuple[str, ...]] = {
            knob.name: self._choices(knob, include, exclude) for knob in self.knobs
        }

    def _check_fix(self, name: str, value: str) -> None:
        reason = self.reason(check_known(name, value), value)
        if reason:
            raise UsageError(f"{name}={value} is not available here: {reason}")

    def _choices(
        self, knob: Knob, include: Sequence[str], exclude: Sequence[str]
    ) -> tuple[str, ...]:
        if knob.name in self.fix:
            return (self.fix[knob.name],)
        if knob.name in exclude or (include and knob.name not in include):
            return knob.values[:1]
        return tuple(value for value in knob.values if self.reason(knob, value) is None)

    def reason(self, knob: Knob, value: str) -> str | None:
        """Why the choice is not available here, or None."""
        choice = knob.choice(value)
        return choice.need(self.context) or too_far(choice, self.context)

    def clash(self, config: Config) -> str | None:
        """Why two choices of the config exclude each other, or None."""
        chosen = completed(config)
        for step in steps(config):
            for conflict in step.choice.conflicts:
                theirs = chosen.get(conflict.knob, "")
                reason = conflict.between(step.choice.value, theirs, self.context)
                if reason:
                    mine = f"{step.name}={step.choice.value}"
                    return f"{mine} does not go with {conflict.knob}={theirs}: {reason}"
        return None

    def supported(self, config: Config) -> dict[str, str]:
        """The config with what its choices ask for elsewhere, the first that is available.

        What the config names stays, so two choices that ask for different things still clash.
        """
        for step in steps(config):
            for conflict in step.choice.conflicts:
                mine = not conflict.choices or step.choice.value in conflict.choices
                asked = [one for one in conflict.only if one in self.choices[conflict.knob]]
                stands = completed(config)[conflict.knob] in asked
                if mine and asked and not stands and conflict.knob not in config:
                    return self.supported({**config, conflict.knob: asked[0]})
        return dict(config)

    def holds(self, config: Config) -> bool:
        """Whether the config lies in this space: pins kept, choices available, no clash."""
        chosen = completed(config)
        known = set(self.choices) >= set(chosen)
        return (
            known
            and all(chosen[name] in values for name, values in self.choices.items())
            and self.clash(config) is None
        )

    @property
    def open(self) -> dict[str, tuple[str, ...]]:
        """The knobs that are left to choose, with their choices."""
        return {name: values for name, values in self.choices.items() if len(values) > 1}
