"""All knobs, and the check of names of knobs and choices."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from search_space import knobs as knob_files
from search_space.errors import UsageError
from search_space.knob import Knob, MoreChoices, Probe


@cache
def all_knobs() -> tuple[Knob, ...]:
    """Every knob of the package ``search_space.knobs``, in the order in which they act."""
    names = [module.name for module in pkgutil.iter_modules(knob_files.__path__)]
    modules = [importlib.import_module(f"{knob_files.__name__}.{name}") for name in names]
    parts = [part for module in modules for part in vars(module).values()]
    more = [part for part in parts if isinstance(part, MoreChoices)]
    knobs = [_joined(part, more) for part in parts if isinstance(part, Knob)]
    return tuple(sorted(knobs, key=lambda knob: (knob.stage, knob.name)))


def _joined(knob: Knob, more: Sequence[MoreChoices]) -> Knob:
    additions = [part for part in more if part.knob == knob.name]
    choices = knob.choices + tuple(choice for part in additions for choice in part.choices)
    parts: tuple[Knob | MoreChoices, ...] = (knob, *additions)
    probes = {name: probe for part in parts for name, probe in part.probes.items()}
    return replace(knob, choices=choices, probes=probes)


def all_probes() -> dict[str, Probe]:
    """Every probe that some knob's availability asks for."""
    return {name: probe for knob in all_knobs() for name, probe in knob.probes.items()}


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


def _unknown(kind: str, name: str, names: Iterable[str]) -> str:
    names = list(names)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"there is no {kind} {name!r}: {hint}There are {', '.join(names)}"
