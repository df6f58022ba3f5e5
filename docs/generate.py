"""The parts of these pages that are made from the code; cog calls them, see CONTRIBUTING.md."""

from __future__ import annotations

import ast
import gzip
import shlex
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import chdir, closing
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from click.testing import CliRunner
from sqlalchemy import Column, Table
from sqlalchemy.dialects import sqlite

from storage.schema import metadata
from storage.summary import COLUMNS
from tuner.cli.main import main

HELP_WIDTH = 80
ROOT = Path(__file__).parents[1]
KEPT = ROOT / "docs" / "history.sql.gz"
WITH_CONSTANTS = ("tuner", "storage", "search_space")


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


def views_reference() -> str:
    """The columns of the views."""
    rows = [(code(name), comment) for name, (_, comment) in COLUMNS.items()]
    return table(("column", "what it holds"), rows)


def history(command: str, before: str = "", lines: int | None = None) -> str:
    """A command as it is typed and what it prints, on a copy of the kept store."""
    with TemporaryDirectory() as folder, chdir(folder):
        for name in ("history.db", "laptop.db"):
            with closing(sqlite3.connect(name)) as connection:
                connection.executescript(gzip.decompress(KEPT.read_bytes()).decode())
        environment = {"COLUMNS": "80", "TZ": "UTC", "DIFFUSERS_AUTOTUNE_STORE": "history.db"}
        runner = CliRunner(env=environment)
        for each in filter(None, (before, command)):
            time.tzset()
            result = runner.invoke(main, shlex.split(each), prog_name="tune")
    printed = result.output.rstrip().splitlines()
    if lines is not None and len(printed) > lines:
        printed = [*printed[:lines], "..."]
    return "\n".join(["```text", f"$ tune {command}", *printed, "```"])


def constants_table() -> str:
    """Every number that is a constant of the code and has its reason below it."""
    rows = [
        (f"[{code(name)}](../{file})", code(value), reason)
        for file in source_files()
        for name, value, reason in constants(ROOT / file)
    ]
    return table(("constant", "value", "reason"), rows)


def source_files() -> list[str]:
    """The sources but for the reference pipelines, whose numbers are those of architectures."""
    paths = [path for package in WITH_CONSTANTS for path in (ROOT / package).rglob("*.py")]
    files = (path.relative_to(ROOT).as_posix() for path in paths)
    return sorted(file for file in files if not file.startswith("tuner/reference/"))


def constants(path: Path) -> Iterator[tuple[str, str, str]]:
    """Name, value and reason of each number that has one directly below it."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    for node, below in pairwise(body):
        match node, below:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value),
                ast.Expr(value=ast.Constant(value=str(reason))),
            ) if name.isupper() and numeric(value):
                yield name, ast.unparse(value), " ".join(reason.split()).replace("``", "`")


def numeric(value: ast.expr) -> bool:
    """Whether an expression is a number, a duration, bytes, or several numbers."""
    match value:
        case ast.Constant(value=constant):
            return type(constant) in (int, float)
        case ast.BinOp(left=left, right=right):
            return numeric(left) and numeric(right)
        case ast.UnaryOp(operand=operand):
            return numeric(operand)
        case ast.Tuple(elts=items):
            return bool(items) and all(map(numeric, items))
        case ast.Dict(values=items):
            return bool(items) and all(map(numeric, items))
        case ast.Call(func=ast.Name(id="timedelta" | "bytes"), args=args, keywords=named):
            return all(map(numeric, [*args, *(keyword.value for keyword in named)]))
    return False


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
