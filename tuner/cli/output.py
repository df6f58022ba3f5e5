"""The consoles for data and for progress, and their width: no other module makes a console."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

PIPED_WIDTH = 100
"""The width of a page of text: of what goes to a file or a pipe, where ``COLUMNS`` is not set."""


def stdout() -> Console:
    """Where data goes."""
    return _console(stderr=False)


def stderr() -> Console:
    """Where progress and notes go."""
    return _console(stderr=True)


def print_json(value: object) -> None:
    """Print data to stdout as JSON, in which a figure that is not finite is null."""
    click.echo(json.dumps(finite(value), indent=2, allow_nan=False))


def finite(value: object) -> object:
    """The same data with None for each figure that is not finite."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(each) for each in value]
    return value


def _console(stderr: bool) -> Console:
    from rich.console import Console

    class Quiet(Console):
        def on_broken_pipe(self) -> None:
            # Rich would end the command as failed: see ``OneLineErrors``.
            raise

    console = Quiet(stderr=stderr, highlight=False)
    if console.is_terminal or os.environ.get("COLUMNS", "").isdigit():
        return console
    return Quiet(stderr=stderr, highlight=False, width=PIPED_WIDTH)
