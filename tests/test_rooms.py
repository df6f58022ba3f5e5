"""Which room of the code may import which: the table, and that the code keeps to it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("search_space", "storage", "tuner")

# From the top down: a room imports rooms below it alone. ``tuner`` is the front door itself.
# What stands in brackets behind a room is all that it may import.
TUNER = """
tuner.__main__   cli precedence
tuner.cli        run predict discovery report history processes records search version
tuner            run loader loading history precedence version
tuner.run        bench deploy discovery measuring processes race records report result runners \
                 search
tuner.predict    discovery processes records search
tuner.deploy     report records version
tuner.report     history measuring race records result
tuner.result     loader records
tuner.loader     discovery history loading precedence records
tuner.loading    discovery history measuring processes records
tuner.history    race records
tuner.race       bench measuring records
tuner.search     bench records
tuner.bench      measuring records runners
tuner.discovery  measuring processes records reference
tuner.runners    measuring processes records
tuner.measuring  processes records
tuner.processes  precedence
tuner.records
tuner.reference
tuner.precedence
tuner.version
"""
# Of ``search_space``, which has no rooms above but files: what each may import of it.
SPACE = """
space         catalog config errors knob
construct     build config knob
trial         budget conditions config errors failure fidelity knob proposal units
proposal      config units
config        build catalog identity knob
catalog       errors knob knobs
knobs         build hardware knob needs pipeline runtimes shapes workload
needs         knob
budget        knob
fidelity      knob
knob          build hardware pipeline shapes verified workload
workload      errors foreign identity pipeline
runtimes      build hardware
pipeline      build errors foreign identity
hardware      errors identity
units         errors
failure       conditions
conditions
build
foreign
identity
shapes
verified
errors
"""


def table(text: str) -> dict[str, tuple[str, ...]]:
    rows = [line.split() for line in text.strip().splitlines()]
    return {room: tuple(below) for room, *below in rows}


TUNER_TABLE = table(TUNER)
SPACE_TABLE = table(SPACE)
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def imported(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if is_module(name) else str(node.module) for name in inner]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in PACKAGES)


def room_of(module: str) -> str:
    """``tuner.runners`` of ``tuner.runners.local``; ``search_space.trial``; ``storage``."""
    parts = module.split(".")
    return parts[0] if parts[0] == "storage" else ".".join(parts[:2])


def found() -> dict[str, set[str]]:
    """Which rooms each room imports."""
    rooms: dict[str, set[str]] = {}
    for path in SOURCES:
        mine = room_of(module_of(path))
        rooms.setdefault(mine, set()).update(map(room_of, imported(path)))
    return {mine: theirs - {mine} for mine, theirs in rooms.items()}


FOUND = found()


def test_every_room_is_in_the_table():
    ours = {room for room in FOUND if room.split(".")[0] == "tuner"}
    assert ours == set(TUNER_TABLE)
    files = {room.partition(".")[2] for room in FOUND if room.startswith("search_space.")}
    assert files == set(SPACE_TABLE)


@pytest.mark.parametrize("room", sorted(TUNER_TABLE))
def test_a_room_imports_what_the_table_says_and_nothing_else(room):
    below = {theirs for theirs in FOUND[room] if theirs.split(".")[0] == "tuner"}
    assert {name.removeprefix("tuner.") for name in below} == set(TUNER_TABLE[room])


@pytest.mark.parametrize("file", sorted(SPACE_TABLE))
def test_a_file_of_the_search_space_imports_what_the_table_says_and_nothing_else(file):
    below = {name.partition(".")[2] for name in FOUND[f"search_space.{file}"]}
    assert below - {""} == set(SPACE_TABLE[file])


@pytest.mark.parametrize("rows", [TUNER_TABLE, SPACE_TABLE], ids=["tuner", "search_space"])
def test_a_room_stands_above_what_it_imports_so_there_is_no_circle(rows):
    order = [room.removeprefix("tuner.") for room in rows]
    for room, below in rows.items():
        mine = order.index(room.removeprefix("tuner."))
        assert all(order.index(name) > mine for name in below), room


def reached(below: dict[str, set[str]], room: str) -> set[str]:
    """All that a room imports, by itself or through others."""
    return below[room].union(*(reached(below, other) for other in below[room]))


def drawn() -> dict[str, set[str]]:
    """The arrows of the first diagram of the design page, by the names in the table."""
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    diagram = page.partition("```mermaid\n")[2].partition("```")[0].replace("door", "tuner")
    arrows = re.findall(r"^    (\w+)(?:\[.*?\])? --> (\w+)", diagram, re.MULTILINE)
    names = {name for arrow in arrows for name in arrow}
    return {name: {end for start, end in arrows if start == name} for name in names}


def test_the_drawn_rooms_are_those_of_the_table():
    below = {room.removeprefix("tuner."): set(rooms) for room, rooms in TUNER_TABLE.items()}
    arrows = drawn()
    for room in below.keys() - {"__main__", "version"}:
        assert reached(arrows, room) == reached(below, room) - {"version"}, room
    files = {file: set(theirs) for file, theirs in SPACE_TABLE.items()}
    for room in arrows.keys() - below.keys():
        assert arrows[room] <= reached(files, room), room


def test_imports_go_from_tuner_to_storage_to_search_space():
    for room, theirs in FOUND.items():
        above = {"search_space": {"storage", "tuner"}, "storage": {"tuner"}, "tuner": set()}
        assert not {name.split(".")[0] for name in theirs} & above[room.split(".")[0]]


@pytest.mark.parametrize(
    ("package", "rooms"),
    [
        ("click", {"tuner.cli"}),
        ("optuna", {"tuner.search"}),
        ("optuna_dashboard", {"tuner.search"}),
        ("plotly", {"tuner.report"}),
        ("pandas", {"tuner.history"}),
        ("sqlalchemy", {"storage"}),
        ("alembic", {"storage"}),
    ],
)
def test_a_library_lives_in_one_room(package, rooms):
    def names(path: Path) -> Iterator[str]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield str(node.module).split(".")[0]

    assert {room_of(module_of(path)) for path in SOURCES if package in names(path)} == rooms


def test_every_room_says_what_it_is():
    for path in SOURCES:
        if path.name == "__init__.py":
            assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path
