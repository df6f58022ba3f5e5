"""How fast a store of many trials answers, beside plain SQL on the same file.

    python -m tests.benchmarks.history [--trials 100000] [--folder /tmp]

Fills an SQLite file through ``Store.add`` for so many trials as tell its rate, and the rest in one
transaction with the same rows. Then each command runs as a process, and each query of its as SQL
alone, alternately; told are the medians. Studies are of 500 trials, each with a race of 3 rounds.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from sqlalchemy import Connection, insert

from search_space.budget import Budget
from search_space.config import BASELINE, Config
from search_space.trial import Failure, FailureKind, Measurement, Peak, Purpose, Trial
from search_space.workload import Workload
from storage import Store
from storage.figures import figures_of
from storage.rows import config_values, part_values, trial_values
from storage.schema import config, figures, trial
from storage.writing import identify
from tests.machines import described

OF_A_STUDY = 500
ONE_BY_ONE = 2000
"""Inserted as a run does, a transaction a trial: enough to tell the rate."""

REPEATS = 5
CHOICES = {
    "precision": ("fp32", "bf16", "fp16"),
    "memory_format": ("contiguous", "channels_last"),
    "attention_slicing": ("off", "auto", "max"),
    "attention": ("default", "plain"),
    "vae_slicing": ("off", "on"),
    "threads": ("default", "half"),
}
COMMANDS = {
    "tune --help": ["--help"],
    "tune best MODEL": ["best", "org/model-7"],
    "tune best": ["best"],
    "tune trials, filtered": [
        *("trials", "--model", "org/model-7", "--size", "512x512", "--state", "measured"),
        *("--where", "latency_s", "lt", "2", "--sort", "latency_s", "--limit", "20"),
    ],
    "tune trials, by any model": [
        *("trials", "--where", "speedup", "gt", "2", "--sort", "-speedup", "--limit", "20")
    ],
    "tune studies": ["studies"],
}
SQL = {
    "tune trials, filtered": """SELECT * FROM trial_summary WHERE model = 'org/model-7'
        AND width = 512 AND height = 512 AND state = 'measured' AND latency_s < 2
        ORDER BY latency_s LIMIT 20""",
    "tune trials, by any model": """SELECT * FROM trial_summary WHERE speedup > 2
        ORDER BY speedup DESC LIMIT 20""",
    "tune best": "SELECT * FROM best",
    "tune best MODEL": "SELECT * FROM best WHERE model = 'org/model-7'",
    "tune studies": """SELECT study, count(*), min(latency_s), sum(cost_s) FROM trial_summary
        GROUP BY study""",
}


def made(chance: random.Random, chosen: Config, **facts: object) -> Trial:
    """A trial as a search leaves it: some twenty samples and peaks, or a failure."""
    began = f"2026-0{chance.randrange(1, 10)}-1{chance.randrange(10)}T12:00:00+00:00"
    if not chosen.is_baseline and chance.random() < 0.1 and "race" not in facts:
        outcome: Measurement | Failure = Failure(FailureKind.TIMEOUT, "not done", "steady", "log")
        return Trial(chosen, outcome, 20.0, began, **facts)  # type: ignore[arg-type]
    level_s = 4.0 * 0.8 ** len(chosen) * chance.uniform(0.9, 1.1)
    steady = tuple(level_s * chance.uniform(0.98, 1.02) for _ in range(3))
    step = tuple(level_s / 20 for _ in range(9))
    seconds = {"start": (0.1,), "load": (2.0,), "first_call": (2 * level_s,), "steady": steady}
    peaks = tuple(
        Peak("host", phase, "rss", chance.randrange(2**31, 2**33))
        for phase in ("load", "first_call", "steady")
    )
    fidelity = {} if chosen.is_baseline else {"psnr_db": chance.uniform(28, 60), "ssim": 0.99}
    measured = Measurement(seconds | {"step": step}, peaks, fidelity)
    return Trial(chosen, measured, 20.0, began, **facts)  # type: ignore[arg-type]


def trials_of_a_study(chance: random.Random) -> list[Trial]:
    """A baseline, a search and a race of three rounds between four."""
    configs = [
        Config({knob: chance.choice(values) for knob, values in CHOICES.items()})
        for _ in range(OF_A_STUDY - 13)
    ]
    found = [made(chance, BASELINE, purpose=Purpose.BASELINE)]
    found += [made(chance, each) for each in configs]
    entrants = [BASELINE, *list(dict.fromkeys(each for each in configs if len(each) > 3))[:3]]
    name = f"race {chance.random()}"
    for number in (1, 2, 3):
        for entrant in entrants:
            found.append(made(chance, entrant, purpose=Purpose.RACE, race=name, round=number))
    return found


def fill(path: Path, count: int) -> float:
    """Fill a store; returns how many trials were inserted a second as a run does it."""
    chance, rate, done = random.Random(0), 0.0, 0
    with Store(str(path)) as store:
        number = 0
        while done < count:
            workload = Workload(f"org/model-{number // 4}", f"b2:{number // 4}", steps=30)
            size_px = (512, 768, 1024, 1280)[number % 4]
            workload = replace(workload, height_px=size_px, width_px=size_px)
            space = {knob: list(values) for knob, values in CHOICES.items()}
            study = store.open_study(described("cpu"), workload, Budget(2**33), space)
            trials = trials_of_a_study(chance)
            if done < ONE_BY_ONE:
                began_s = time.perf_counter()
                for each in trials:
                    store.add(study, each)
                rate += (time.perf_counter() - began_s) / ONE_BY_ONE
            else:
                store.write(lambda c, t=trials, s=study, n=done: at_once(c, s, n, t))
            done += len(trials)
            number += 1
    return 1 / rate


def at_once(connection: Connection, study: int, before: int, trials: list[Trial]) -> None:
    """The same rows in one transaction."""
    baselines: dict[object, int] = {}
    stored = [
        replace(each, number=before + place, study_id=study, budget=Budget(2**33))
        for place, each in enumerate(trials, 1)
    ]
    for each in stored:
        if each.config.is_baseline:
            baselines[each.race, each.round] = each.number
    rows: dict[str, list[dict[str, object]]] = {}
    parts: dict[str, object] = {}
    for each in stored:
        config_id = identify(connection, config, config_values(each))
        own = {"number": each.number, "study_id": study, "config_id": config_id}
        rows.setdefault("trial", []).append(
            trial_values(each) | own | {"token": f"token {each.number}"}
        )
        for table, values in part_values(each):
            parts[table.name] = table
            rows.setdefault(table.name, []).extend(values)
        baseline = None if each.config.is_baseline else baselines[each.race, each.round]
        rows.setdefault("figures", []).append(figures_of(each) | {"baseline": baseline})
    connection.execute(insert(trial), rows.pop("trial"))
    connection.execute(insert(figures), rows.pop("figures"))
    for name, values in rows.items():
        connection.execute(insert(parts[name]), values)  # type: ignore[arg-type]


def merge(path: Path, folder: Path) -> None:
    """Copy trials of the store into a new one: what a bulk insert costs."""
    with Store(str(folder / "other.db")) as other, Store(str(path), read_only=True) as store:
        other.merge(store)


def timed(work: Callable[[], object]) -> float:
    """Its seconds."""
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def command(path: Path, arguments: list[str]) -> Callable[[], object]:
    """A command as a process of its own."""
    own = [] if arguments == ["--help"] else ["--store", str(path)]
    line = [sys.executable, "-m", "tuner", *arguments, *own]
    return lambda: subprocess.run(line, check=True, capture_output=True)


def query(path: Path, statement: str) -> Callable[[], object]:
    """A query on a connection of its own."""

    def run() -> object:
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute(statement).fetchall()

    return run


def machine() -> str:
    """The processor, and how many of its cores."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.partition(": ")[2].strip() for line in file if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return f"{os.cpu_count()} cores, {name}"


def main() -> None:
    """Print a row a command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "history.db"
        rate = fill(path, arguments.trials)
        size_mib = path.stat().st_size / 2**20
        print(f"{machine()}; {arguments.trials} trials, {size_mib:.0f} MiB", flush=True)
        print(f"inserts: {rate:.0f} a second", flush=True)
        merged_s = timed(lambda: merge(path, Path(folder)))
        print(f"merged: {arguments.trials / merged_s:.0f} a second", flush=True)
        opening = lambda: Store(str(path), read_only=True).close()  # noqa: E731
        print(f"opening: {median(timed(opening) for _ in range(REPEATS)):.3f} s", flush=True)
        nothing = [sys.executable, "-c", "import click, rich.console, sqlalchemy"]
        works = {name: command(path, each) for name, each in COMMANDS.items()}
        works["imports alone"] = lambda: subprocess.run(nothing, check=True)
        works |= {f"SQL of {name}": query(path, each) for name, each in SQL.items()}
        seconds: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(REPEATS):
            for name, work in works.items():
                seconds[name].append(timed(work))
        for name, samples in seconds.items():
            print(f"{name}: {median(samples):.3f} s ({min(samples):.3f} to {max(samples):.3f})")


if __name__ == "__main__":
    main()
