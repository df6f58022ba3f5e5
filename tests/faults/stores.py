"""Stores that are damaged, of somebody else, of another version, locked, gone."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from tests.faults.fault import FAULTS
from tests.faults.history import fill
from tests.faults.lab import Lab

Damage = Callable[[Path], None]


def overwritten(path: Path) -> None:
    """Half a page in the middle, as a bad disk leaves it."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2048] = random.Random(0).randbytes(2048)
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_head(path: Path) -> None:
    path.write_bytes(b"\0" * 100 + path.read_bytes()[100:])


def of_text(path: Path) -> None:
    path.write_text("my notes\n" * 200)


def of_another(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmark (id INTEGER)")
        connection.commit()


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE autotune_version SET version_num = 'm999_later'")
        connection.commit()


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def with_rows_of_the_wrong_type(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE trial SET started_at = x'00ff', cost_s = 'soon'")
        connection.commit()


def with_endless_json(path: Path) -> None:
    nested = "[" * 100_000 + "]" * 100_000
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE config SET choices = ?", (nested,))
        connection.commit()


DAMAGES: dict[str, Damage] = {
    "half a page overwritten": overwritten,
    "cut short": cut_short,
    "its head gone": without_head,
    "a text file": of_text,
    "the database of another program": of_another,
    "of a newer version": newer,
    "a folder": as_folder,
    "a pipe": as_pipe,
    "rows of the wrong type": with_rows_of_the_wrong_type,
    "JSON nested 100,000 deep": with_endless_json,
}


def read_damaged(lab: Lab, damage: Damage) -> None:
    """Every command that reads answers in one line or with what is whole, and changes nothing."""
    path = Path(lab.store)
    fill(path)
    damage(path)
    before = path.read_bytes() if path.is_file() else None
    for command in (("trials", "--json"), ("show", "1")):
        ended = lab.tune(*command, "--store", lab.store, timeout_s=60.0)
        if ended.code not in (0, 1, 2):
            lab.wrong.append(f"tune {' '.join(command)} ended with {ended.code}")
        lab.expect_no_traceback(ended)
    if before is not None and path.read_bytes() != before:
        lab.wrong.append("reading changed the file")


for name, way in DAMAGES.items():
    FAULTS.add("stores", f"a store: {name}", partial(read_damaged, damage=way), quick=True)


@FAULTS.fault("stores", "a folder that is not there, and none allowed", quick=True)
def nowhere(lab: Lab) -> None:
    lab.expect(lab.tune("trials", "--store", "/proc/none/history.db"), 2)


@FAULTS.fault("stores", "an infinite and an undefined figure in a store", quick=True)
def not_finite(lab: Lab) -> None:
    """JSON has neither: a reader of ours must not print what no other program reads."""
    fill(Path(lab.store))
    with closing(sqlite3.connect(lab.store)) as connection:
        connection.execute("UPDATE sample SET seconds = 9e999")
        connection.commit()
    ended = lab.tune("trials", "--json", "--store", lab.store)
    lab.expect_no_traceback(ended)
    for word in ("Infinity", "NaN"):
        if word in ended.stdout:
            lab.wrong.append(f"{word} was printed as JSON")


@FAULTS.fault("stores", "a store that another program locks for 3 s")
def locked(lab: Lab) -> None:
    running = lab.run()
    lab.until_phase("steady", 1)
    with closing(sqlite3.connect(lab.store, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        lab.pause(3.0)
        connection.execute("ROLLBACK")
    lab.expect(running.end(), 0)
    lab.expect_emitted()


@FAULTS.fault("stores", "a damaged store, and a run on it")
def run_on_damaged(lab: Lab) -> None:
    fill(Path(lab.store))
    before = Path(lab.store).read_bytes()
    without_head(Path(lab.store))
    damaged = Path(lab.store).read_bytes()
    lab.expect(lab.run().end(), 2)
    if Path(lab.store).read_bytes() != damaged or before == damaged:
        lab.wrong.append("the run changed the file")
