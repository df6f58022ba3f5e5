"""The parts of these pages that are made from the code; cog calls them, see CONTRIBUTING.md."""

from __future__ import annotations

from collections.abc import Iterable

import click
from sqlalchemy import Column, Table
from sqlalchemy.dialects import sqlite

from storage.schema import metadata
from tuner.cli.main import main

HELP_WIDTH = 80


def cli_reference() -> str:
    """The help of every command, at one width whatever the terminal's."""
    group = click.Context(main, info_name="tune", terminal_width=HELP_WIDTH, **settings(main))
    lines = ["## tune", *fenced(main.get_help(group))]
    for name, command in sorted(main.commands.items()):
        context = click.Context(
            command, info_name=name, parent=group, terminal_width=HELP_WIDTH, **settings(command)
        )
        lines += [f"## tune {name}", *fenced(command.get_help(context))]
    return "\n".join(lines)


def schema_reference() -> str:
    """Every table with its columns, their types and what they hold."""
    lines = []
    for known in metadata.sorted_tables:
        lines += [f"### {known.name}", "", known.comment or "", ""]
        rows = [
            (code(column.name), kind(column), points(column), column.comment or "")
            for column in known.columns
        ]
        lines += [table(("column", "type", "key", "what it holds"), rows), ""]
    return "\n".join(lines)


def settings(command: click.Command) -> dict[str, object]:
    """How the command wants its context, such as the names of its help option."""
    return dict(command.context_settings)


def kind(column: Column[object]) -> str:
    """The type that SQLite knows the column by, and whether it may be empty."""
    name = column.type.compile(dialect=sqlite.dialect())
    return f"{name}, may be NULL" if column.nullable else name


def points(column: Column[object]) -> str:
    """Primary key, unique, or the column that it refers to."""
    said = ["primary"] if column.primary_key else []
    said += ["unique"] if column.unique else []
    for key in column.foreign_keys:
        target: Table = key.column.table
        said.append(f"[{target.name}](#{target.name})")
    return ", ".join(said) or "-"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in lines
    )


def code(text: str) -> str:
    """Text in backquotes."""
    return f"`{text}`"


def fenced(text: str) -> tuple[str, ...]:
    """A block of text as it stands."""
    lines = (line.rstrip() for line in text.splitlines())
    return ("", "```text", *lines, "```", "")
