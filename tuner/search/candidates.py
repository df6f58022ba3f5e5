"""The configs that a search can propose: valid and untried by construction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy
from numpy.typing import NDArray

from search_space.catalog import all_knobs
from search_space.config import Config, completed
from search_space.knob import Knob
from search_space.space import Space

Rows = NDArray[numpy.int64]
"""Configs, one a row: for each open knob the position of its choice among all open choices."""

Matrix = NDArray[numpy.float64]

MOST_LISTED = 8_000
"""Spaces of up to so many configs are listed whole, which a forecast of all of them takes 0.05 s
for; of larger ones a sample and the neighbours of the best are looked at."""

SWEEPS = 3
"""After so many rounds over all knobs a random walk has left the place where it began."""

Columns = tuple[tuple[str, str], ...]


class Candidates:
    """The valid configs of a space as rows of numbers, and the rules between them as a matrix.

    Choices exclude each other in pairs, so one matrix of all pairs of open choices says whether a
    row is valid. ``columns`` are the choices that change something: what a model has an effect for.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self.space = space
        self.names = tuple(space.open)
        self._choices = [(name, value) for name in self.names for value in space.open[name]]
        sizes = [len(space.open[name]) for name in self.names]
        self._starts = numpy.concatenate(([0], numpy.cumsum(sizes)[:-1])).astype(int)
        self._sizes = numpy.array(sizes, dtype=int)
        self._random = numpy.random.default_rng(seed)
        self._excluded = self._exclusions()
        self._rules = self._excluded.astype(float)
        firsts = {knob.name: knob.values[0] for knob in space.knobs}
        fixed = [(name, value) for name, value in space.fix.items() if value != firsts[name]]
        self._changing = [
            place for place, (name, value) in enumerate(self._choices) if value != firsts[name]
        ]
        self._fixed = len(fixed)
        self.columns: Columns = (*(self._choices[place] for place in self._changing), *fixed)
        self._listed = self._list()

    def _exclusions(self) -> NDArray[numpy.bool_]:
        """Which open choices exclude each other; on the diagonal, which the pins exclude."""
        excluded = numpy.zeros((len(self._choices), len(self._choices)), dtype=bool)
        place_of = {choice: place for place, choice in enumerate(self._choices)}
        by_name = {knob.name: knob for knob in self.space.knobs}
        for name, values in self.space.choices.items():
            for value in values:
                if value == by_name[name].values[0]:
                    continue
                for other, other_value in self._clashes(by_name[name], value):
                    pair = ((name, value), (other, other_value))
                    # Of a pinned choice and an open one, the open one is excluded by itself.
                    places = [place_of[choice] for choice in pair if choice in place_of]
                    if places:
                        first, last = places[0], places[-1]
                        excluded[first, last] = excluded[last, first] = True
        return excluded

    def _clashes(self, knob: Knob, value: str) -> Iterator[tuple[str, str]]:
        for conflict in knob.choice(value).conflicts:
            for other_value in self.space.choices[conflict.knob]:
                if conflict.between(value, other_value, self.space.context):
                    yield conflict.knob, other_value

    def _list(self) -> Rows | None:
        """All valid rows, or None where they are too many to be listed."""
        rows: Rows = numpy.zeros((1, 0), dtype=int)
        for start, size in zip(self._starts, self._sizes, strict=True):
            grown = []
            for place in range(start, start + size):
                fits = ~self._excluded[place, rows].any(axis=1) & ~self._excluded[place, place]
                kept = rows[fits]
                grown.append(numpy.column_stack([kept, numpy.full(len(kept), place)]))
            rows = numpy.concatenate(grown)
            if len(rows) > MOST_LISTED:
                return None
        return rows

    @property
    def all(self) -> Rows | None:
        """Every valid row, where they are few enough."""
        return self._listed

    def valid(self, rows: Rows) -> NDArray[numpy.bool_]:
        """Which rows break no rule."""
        chosen = self._one_hot(rows)
        broken: Matrix = ((chosen @ self._rules) * chosen).sum(axis=1)
        return numpy.equal(broken, 0)

    def _one_hot(self, rows: Rows) -> Matrix:
        chosen = numpy.zeros((len(rows), len(self._choices)))
        numpy.put_along_axis(chosen, rows, 1.0, axis=1)
        return chosen

    def encoded(self, rows: Rows) -> Matrix:
        """For each row and column 1 where the row makes that change, else 0."""
        changes = self._one_hot(rows)[:, self._changing]
        return numpy.hstack([changes, numpy.ones((len(rows), self._fixed))])

    def encoded_config(self, config: Mapping[str, str]) -> Matrix:
        """One encoded row, also of a config that breaks a pin, as the baseline may."""
        return numpy.array([[float(config.get(name) == value) for name, value in self.columns]])

    def row(self, config: Mapping[str, str]) -> Rows:
        """The row of a config that the space holds."""
        choices = completed(config)
        return numpy.array(
            [
                start + self.space.open[name].index(choices[name])
                for name, start in zip(self.names, self._starts, strict=True)
            ],
            dtype=int,
        )

    def config(self, row: Rows) -> Config:
        """The config of a row."""
        return Config({**self.space.fix, **dict(self._choices[place] for place in row)})

    def starts(self) -> Rows:
        """Valid rows from which walks begin: the default, and each choice with what it asks for."""
        configs: list[Mapping[str, str]] = [self.space.fix]
        configs += [
            self.space.supported({**self.space.fix, name: value}) for name, value in self._choices
        ]
        rows = [self.row(config) for config in configs if self.space.holds(config)]
        empty = numpy.zeros((0, len(self.names)), dtype=int)
        return unique(numpy.array(rows)) if rows else empty

    def random(self, count: int) -> Rows:
        """Valid rows by random walks of single changes, each of which keeps the rules."""
        starts = self.starts()
        if not len(starts):
            return starts
        rows = starts[self._random.integers(len(starts), size=count)]
        for _ in range(SWEEPS):
            for knob in self._random.permutation(len(self.names)):
                changed = rows.copy()
                steps = self._random.integers(self._sizes[knob], size=count)
                changed[:, knob] = self._starts[knob] + steps
                holds = self.valid(changed)
                rows[holds] = changed[holds]
        return unique(rows)

    def neighbours(self, rows: Rows) -> Rows:
        """The valid rows with one choice changed, or one and what it asks for of one other."""
        changed = self._changed(rows)
        valid = self.valid(changed)
        return unique(changed[valid])

    def second_neighbours(self, rows: Rows) -> Rows:
        """The valid rows with two choices changed, whatever lies between."""
        changed = self._changed(self._changed(rows))
        return unique(changed[self.valid(changed)])

    def _changed(self, rows: Rows) -> Rows:
        variants = []
        for knob, (start, size) in enumerate(zip(self._starts, self._sizes, strict=True)):
            for place in range(start, start + size):
                changed = rows[rows[:, knob] != place].copy()
                changed[:, knob] = place
                variants.append(changed)
        return unique(numpy.concatenate(variants)) if variants else rows[:0]


def unique(rows: Rows) -> Rows:
    """The rows without repeats, in the order of their choices."""
    _, first = numpy.unique(keys(rows), return_index=True)
    return rows[first]


def keys(rows: Rows) -> NDArray[numpy.bytes_]:
    """One value a row, equal for equal rows and ordered as they are."""
    # Bytes are compared from the first on, so the most significant of each number stands first.
    block = numpy.ascontiguousarray(rows, dtype=">u2")
    return block.view(f"S{block.dtype.itemsize * block.shape[1]}").ravel()


def parts_of(columns: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    """For each column, the parts of a call that its knob can change."""
    by_name = {knob.name: knob.parts for knob in all_knobs()}
    return [by_name[name] for name, _ in columns]
