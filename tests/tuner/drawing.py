"""What a reader sees of something that rich can print."""

from __future__ import annotations

from io import StringIO

from rich.console import Console, RenderableType


def drawn(table: RenderableType, width: int = 200) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()
