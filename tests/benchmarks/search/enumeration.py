"""All valid configs of a space at once, by the rules between pairs of choices."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy
from numpy.typing import NDArray

from search_space.config import Config, completed
from search_space.space import Space

Places = NDArray[Any]


class Configs:
    """Many configs of one space: a row has, for each open knob, the place of its choice."""

    def __init__(self, space: Space, places: Places) -> None:
        self.space = space
        self.places = places
        self.knobs = tuple(space.open)

    def __len__(self) -> int:
        return len(self.places)

    @classmethod
    def of(cls, space: Space, config: Mapping[str, str]) -> Configs:
        """One config; raises KeyError where it does not lie in the space."""
        chosen = completed(config)
        places = []
        for name, values in space.choices.items():
            if chosen[name] not in values:
                raise KeyError(f"{name}={chosen[name]}")
            if len(values) > 1:
                places.append(values.index(chosen[name]))
        return cls(space, numpy.array([places], dtype=numpy.int8))

    def config(self, row: int) -> Config:
        choices = self.space.open
        places = zip(self.knobs, self.places[row], strict=True)
        return Config({name: choices[name][place] for name, place in places})

    def rows(self, start: int, end: int) -> Configs:
        return Configs(self.space, self.places[start:end])

    def pick(self, knob: str, values: Mapping[str, float], default: float) -> Any:
        """For each config the value of its choice of a knob; of a knob that is not open, one."""
        choices = self.space.choices[knob]
        if len(choices) == 1:
            return values.get(choices[0], default)
        table = numpy.array([values.get(choice, default) for choice in choices])
        return table[self.column(knob)]

    def column(self, knob: str) -> Places:
        return self._columns[knob]

    @cached_property
    def _columns(self) -> dict[str, Places]:
        # Numpy indexes fastest with its own integers.
        columns = self.places.T.astype(numpy.intp, order="C")
        return dict(zip(self.knobs, columns, strict=True))


def valid_configs(space: Space) -> Configs:
    """Every config that the space holds, in the order of its knobs and choices."""
    sizes = [len(values) for values in space.open.values()]
    held = numpy.ones(sizes, dtype=bool)
    for (first, second), clashes in clash_tables(space).items():
        shape = [1] * len(sizes)
        shape[first], shape[second] = sizes[first], sizes[second]
        held &= ~clashes.reshape(shape)
    rows = numpy.flatnonzero(held)
    columns = numpy.unravel_index(rows, sizes)
    return Configs(space, numpy.stack(columns, axis=1).astype(numpy.int8))


def clash_tables(space: Space) -> dict[tuple[int, int], NDArray[Any]]:
    """For each pair of open knobs, by place, which of their choices exclude each other."""
    names = tuple(space.open)
    tables = {}
    for first, second in combinations(range(len(names)), 2):
        one, other = names[first], names[second]
        pairs = [
            [_clash(space, {one: a, other: b}) for b in space.open[other]] for a in space.open[one]
        ]
        tables[first, second] = numpy.array(pairs)
    return tables


def _clash(space: Space, pair: Mapping[str, str]) -> bool:
    """Whether two choices exclude each other, or one of them what a knob that is not open has."""
    closed = {name: values[0] for name, values in space.choices.items() if len(values) == 1}
    chosen = {**closed, **pair}
    for knob in space.knobs:
        if knob.name not in chosen or chosen[knob.name] == knob.values[0]:
            continue
        for conflict in knob.choice(chosen[knob.name]).conflicts:
            other = chosen.get(conflict.knob)
            if other and conflict.between(chosen[knob.name], other, space.context):
                return True
    return False
