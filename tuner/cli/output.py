"""Where data, progress and notes are printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def stdout() -> Console:
    """Where data goes: as wide as it needs when it is not a terminal."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=200)


def stderr() -> Console:
    """Where progress and notes go."""
    from rich.console import Console

    return Console(stderr=True)
