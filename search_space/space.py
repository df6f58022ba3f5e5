"""The knobs and choices possible here, and the rules between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, islice, product

from search_space.catalog import all_knobs, check_known, check_pins
from search_space.config import Config, completed, steps
from search_space.errors import UsageError
from search_space.knob import Choice, Context, Knob

MOST_COUNTED = 1000
"""Configs are counted up to so many, within a fifth of a second: beyond that it is many."""


def too_far(choice: Choice, context: Context) -> str | None:
    """Why the choice moves the image further than the user allows, or None."""
    if context.quality.allows(choice.tier):
        return None
    tier = choice.tier.value
    return f"it is {tier}, the search keeps to {context.quality.value}: give --quality {tier}"


class Space:
    """All that can be tried here: each knob's available choices, less what pins rule out."""

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

    def clash(self, config: Mapping[str, str]) -> str | None:
        """Why two choices of the config exclude each other, or None."""
        choices = completed(config)
        for step in steps(config):
            for conflict in step.choice.conflicts:
                other = choices.get(conflict.knob, "")
                reason = conflict.between(step.choice.value, other, self.context)
                if reason:
                    choice = f"{step.name}={step.choice.value}"
                    return f"{choice} does not go with {conflict.knob}={other}: {reason}"
        return None

    def supported(self, config: Mapping[str, str]) -> dict[str, str]:
        """The config with what its choices ask for elsewhere, the first that is available.

        What the config names stays, so two choices that ask for different things still clash.
        """
        for step in steps(config):
            for conflict in step.choice.conflicts:
                applies = not conflict.choices or step.choice.value in conflict.choices
                choices = self.choices[conflict.knob]
                available = [value for value in conflict.only if value in choices]
                stands = completed(config)[conflict.knob] in available
                if applies and available and not stands and conflict.knob not in config:
                    return self.supported({**config, conflict.knob: available[0]})
        return dict(config)

    def holds(self, config: Mapping[str, str]) -> bool:
        """Whether the config lies in this space: pins kept, choices available, no clash."""
        choices = completed(config)
        return (
            set(self.choices) >= set(choices)
            and all(choices[name] in values for name, values in self.choices.items())
            and self.clash(config) is None
        )

    def count(self, most: int = MOST_COUNTED) -> int:
        """How many configs the space holds, but for the default; it stops at ``most``."""
        return sum(1 for _ in islice(self.configs(), most))

    def configs(self) -> Iterator[Config]:
        """The configs beside the default, those with the fewest changes first."""
        first = {name: values[0] for name, values in self.open.items()}
        for count in range(len(first) + 1):
            for names in combinations(first, count):
                for values in product(*(self.open[name][1:] for name in names)):
                    config = Config(self.fix | first | dict(zip(names, values, strict=True)))
                    if config and self.holds(config):
                        yield config

    @property
    def open(self) -> dict[str, tuple[str, ...]]:
        """The knobs with more than one choice, with their choices."""
        return {name: values for name, values in self.choices.items() if len(values) > 1}
