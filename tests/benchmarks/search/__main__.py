"""``python -m tests.benchmarks.search``: the strategies side by side on replayed tables.

A fraction is the optimum's latency by that of the config which would be chosen, both without noise;
it is 0 while nothing feasible has been found. Cells are median / 10th percentile over machines and
seeds; seconds are those that trials are charged.
"""

from __future__ import annotations

import os

# One thread a process: two processes share two cores. Before numpy is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.search import tables
from tests.benchmarks.search.kept import Kept, read, write
from tests.benchmarks.search.machines import MACHINES, draw_machine, name_of
from tests.benchmarks.search.replaying import Curve, Subject, replay
from tests.benchmarks.search.report import report
from tests.benchmarks.search.strategies import SLOW, SLOW_MACHINES, STRATEGIES

PROCESSES = 2


@dataclass(frozen=True)
class Numbered:
    """A synthetic machine, which each process draws for itself."""

    number: int

    @property
    def name(self) -> str:
        return name_of(self.number)

    def load(self) -> Subject:
        return draw_machine(self.number)


@dataclass(frozen=True)
class Tabled:
    """A table within a budget."""

    path: Path
    quantile: float

    @property
    def name(self) -> str:
        return tables.name_of(self.path, self.quantile)

    def load(self) -> Subject:
        return tables.subject(self.path, self.quantile)


def curves_of(
    reference: Numbered | Tabled, searches: Sequence[tuple[str, int]], trials: int
) -> list[Curve]:
    """The curves of strategies and seeds on one machine, one after the other in one process."""
    subject = reference.load()
    return [replay(subject, name, seed, trials) for name, seed in searches]


def run(
    references: Sequence[Numbered | Tabled],
    strategies: Sequence[str],
    seeds: int,
    trials: int,
    processes: int,
    kept: Kept,
) -> Iterator[list[Curve]]:
    """The curves of each machine as they are done, but for those that are kept."""
    with ProcessPoolExecutor(processes) as pool:
        futures = []
        for place, reference in enumerate(references):
            quick = [name for name in strategies if name not in SLOW or place < SLOW_MACHINES]
            searches = [
                (name, seed)
                for name in quick
                for seed in range(seeds)
                if not kept.has(name, reference.name, seed)
            ]
            if searches:
                futures.append(pool.submit(curves_of, reference, searches, trials))
        for done, future in enumerate(as_completed(futures), 1):
            yield future.result()
            print(f"{done} of {len(futures)} machines", file=sys.stderr, flush=True)


def whole_tables(paths: Sequence[Path]) -> Iterator[Tabled]:
    """The tables within their budgets; a table with gaps cannot be searched, and says so."""
    for path in paths:
        table = tables.read(path)
        if table.missing:
            total = len(table.space.valid)
            print(f"{path.name}: {table.missing} of {total} configs missing", file=sys.stderr)
            continue
        yield from (Tabled(path, quantile) for quantile in tables.QUANTILES)


def numbers_of(text: str) -> list[int]:
    """``24`` for the first 24 machines, ``0-5,12`` for those."""
    if text.isdigit():
        return list(range(int(text)))
    numbers = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def names_of(text: str) -> list[str]:
    names = text.split(",")
    unknown = set(names) - STRATEGIES.keys()
    if unknown:
        known = ", ".join(STRATEGIES)
        raise argparse.ArgumentTypeError(f"no strategy {sorted(unknown)[0]!r}: there are {known}")
    return names


def command_of(options: argparse.Namespace) -> Iterator[str]:
    """The command for these searches, wherever their curves are kept."""
    yield from ("python", "-m", "tests.benchmarks.search")
    yield from ("--strategies", ",".join(options.strategies))
    if options.machines != list(range(MACHINES)):
        yield from ("--machines", ",".join(map(str, options.machines)))
    if options.tables:
        yield from ("--tables", *(path.name for path in options.tables))
    yield from ("--seeds", str(options.seeds), "--trials", str(options.trials))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strategies", type=names_of, default=list(STRATEGIES))
    parser.add_argument("--machines", type=numbers_of, default=list(range(MACHINES)))
    parser.add_argument("--tables", nargs="*", type=Path, default=[], metavar="FILE")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--update", type=Path, help="keep the strategies' curves in this file")
    parser.add_argument("--resume", action="store_true", help="those of its curves stay")
    options = parser.parse_args()
    before = read(options.update) if options.update else Kept()
    kept = before if options.resume else before.without(options.strategies)
    command = shlex.join(command_of(options))
    references = [*map(Numbered, options.machines), *whole_tables(options.tables)]
    searches = references, options.strategies, options.seeds, options.trials
    for curves in run(*searches, options.processes, kept):
        kept = kept.with_curves(curves, command)
        if options.update:
            write(options.update, kept)
    print(report(kept.curves))


if __name__ == "__main__":
    main()
