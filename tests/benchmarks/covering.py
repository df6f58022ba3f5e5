"""Pairs of choices, and few configs in which every one of them stands.

Run alone, the pairs of a family are some 1,500. A config of ten choices holds 45 of them. Where it
runs, each of its pairs does; where it fails, they are run alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import combinations

from search_space.catalog import check_known
from search_space.config import Config
from search_space.knob import Tier
from search_space.space import Space

Pair = frozenset[tuple[str, str]]
"""Two choices of two knobs, neither of them the first of its knob."""


def pairs(space: Space) -> Iterator[Pair]:
    """Each pair of the choices that are available."""
    found = [(knob, value) for knob, values in space.choices.items() for value in values]
    changing = [(knob, value) for knob, value in found if Config({knob: value})]
    for one, other in combinations(changing, 2):
        if one[0] != other[0]:
            yield frozenset((one, other))


def alone(space: Space, pair: Pair) -> dict[str, str]:
    """The config of a pair, with what the two ask for elsewhere."""
    return space.supported(dict(sorted(pair)))


def pairs_of(config: Config) -> set[Pair]:
    """The pairs that stand in a config."""
    return {frozenset(pair) for pair in combinations(Config(config).items(), 2)}


def fullest(space: Space, left: Collection[Pair]) -> dict[str, str]:
    """A config with the first of the pairs that are left and as many others as the rules allow.

    Losses add up, so there is one lossy choice at most. Compiling takes long, so beside what
    compiles stands only what has not stood there yet.
    """
    config = alone(space, next(iter(left)))
    while (best := max(_fitting(space, left, config), default=None)) is not None:
        _, knob, value = best
        config = {**config, knob: value}
    return config


def _fitting(
    space: Space, left: Collection[Pair], config: Config
) -> Iterator[tuple[int, str, str]]:
    """The choices that the config can take, with how many of the pairs that are left they add."""
    items = list(Config(config).items())
    has_lossy = any(map(_lossy, items))
    for knob, values in space.choices.items():
        for value in values if knob not in config else ():
            new = (knob, value)
            added = [frozenset((new, item)) in left for item in items]
            compiles = [_compiles(new) or _compiles(item) for item in items]
            wasted = any(slow and not wanted for slow, wanted in zip(compiles, added, strict=True))
            if not any(added) or wasted or (has_lossy and _lossy(new)):
                continue
            if space.clash({**config, knob: value}) is None:
                yield sum(added), knob, value


def _lossy(item: tuple[str, str]) -> bool:
    knob, value = item
    return check_known(knob).choice(value).tier is Tier.LOSSY


def _compiles(item: tuple[str, str]) -> bool:
    knob, value = item
    return knob.endswith("engine") and value.startswith("compile")
