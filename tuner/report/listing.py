"""Tables that fit the console, however narrow: what is long breaks between words, never within."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from tuner.report.format import UNKNOWN

GAP = "  "
INDENT = "    "
READABLE = 40
"""The least room in which a sentence beside a table is read with ease."""

LONGEST = 60
"""No knob=choice is as long; a longer word is a path or the like, and may be broken."""

GLUE = "\N{NO-BREAK SPACE}"
"""In the place of a space at which no line may end; it is printed as a space."""


@dataclass(frozen=True)
class Row:
    """The cells of a row; ``long`` is its last column, ``remarks`` are lines of their own."""

    cells: tuple[str, ...]
    long: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listing:
    """A table for rich whose lines are no longer than the console is wide.

    The last column stands beside the others where there is room for it, otherwise on lines of its
    own below each row. Where the others alone are too wide, each row becomes a sentence. A column
    that says nothing is left out. Columns named in ``right`` are aligned so. Without ``columns``
    there is no head.
    """

    rows: tuple[Row, ...]
    columns: tuple[str, ...] = ()
    right: tuple[str, ...] = ()
    caption: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from (Text(line, style) for line, style in self._lines(options.max_width))
        if self.caption:
            yield Paragraph(self.caption, "italic")

    def _lines(self, width: int) -> Iterator[tuple[str, str]]:
        head, rows, right = self._visible()
        cells = [head, *(row.cells for row in rows)]
        widths = [max(map(cell_len, column)) for column in zip(*cells, strict=False)]
        room = width - sum(widths) - len(GAP) * len(widths)
        if room + len(GAP) < 0:
            yield from self._sentences(head, rows, width)
            return
        is_beside = room >= needed([row.long for row in rows])
        last = (self.columns[-1],) if is_beside and self.columns and self._is_long else ()
        if any(head + last):
            yield joined((*head, *last), widths, right), "bold"
        for row in rows:
            long = wrapped(row.long, room) if is_beside else []
            yield joined((*row.cells, *long[:1]), widths, right), ""
            yield from ((" " * (width - room) + line, "") for line in long[1:])
            below = () if is_beside or not row.long else (row.long,)
            yield from _indented((*below, *row.remarks), width)

    @property
    def _is_long(self) -> bool:
        return any(row.long for row in self.rows)

    def _visible(self) -> tuple[tuple[str, ...], list[Row], list[bool]]:
        """The head and the rows without the columns in which no row says anything."""
        count = max((len(row.cells) for row in self.rows), default=len(self.columns))
        silent = {"", UNKNOWN}
        columns_shown = [
            i for i in range(count) if any(row.cells[i] not in silent for row in self.rows)
        ]
        names = self.columns or ("",) * count
        rows = [
            Row(tuple(row.cells[i] for i in columns_shown), row.long, row.remarks)
            for row in self.rows
        ]
        return (
            tuple(names[i] for i in columns_shown),
            rows,
            [names[i] in self.right for i in columns_shown],
        )

    def _sentences(
        self, head: tuple[str, ...], rows: list[Row], width: int
    ) -> Iterator[tuple[str, str]]:
        for row in rows:
            phrases = [
                f"{name} {cell}".strip().replace(" ", GLUE)
                for name, cell in zip(head, row.cells, strict=True)
                if cell not in ("", UNKNOWN)
            ]
            yield from ((line, "") for line in wrapped(", ".join(phrases), width))
            yield from _indented(((row.long,) if row.long else ()) + row.remarks, width)


@dataclass(frozen=True)
class Paragraph:
    """A text of several lines for rich."""

    text: str
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from (Text(line, self.style) for line in wrapped(self.text, options.max_width))


def titled(title: str, table: RenderableType) -> Group:
    """The table under its title."""
    return Group(Paragraph(title, "bold"), table)


def apart(parts: Iterable[RenderableType]) -> Group:
    """The parts with an empty line between one and the next."""
    spaced = [piece for part in parts for piece in (Text(), part)]
    return Group(*spaced[1:])


def needed(texts: list[str]) -> int:
    """The columns that a text must have: for its longest word, and to be read with ease."""
    words = [cell_len(word) for text in texts for word in text.split(" ")]
    longest = max((cell_len(text) for text in texts), default=0)
    return max([*(word for word in words if word <= LONGEST), min(longest, READABLE)])


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines; only a word that is wider than a line is broken."""
    lines = textwrap.wrap(text, max(width, 1), break_on_hyphens=False)
    return [line.rstrip().replace(GLUE, " ") for line in lines]


def joined(cells: tuple[str, ...], widths: list[int], right: list[bool]) -> str:
    """The cells in their columns; what follows the last column stands as it is."""
    padded = [
        " " * (width - cell_len(cell)) + cell if is_right else cell + " " * (width - cell_len(cell))
        for cell, width, is_right in zip(cells, widths, right, strict=False)
    ]
    return GAP.join([*padded, *cells[len(widths) :]]).rstrip()


def _indented(texts: tuple[str, ...], width: int) -> Iterator[tuple[str, str]]:
    for text in texts:
        for line in wrapped(text, width - len(INDENT)):
            yield INDENT + line, ""
