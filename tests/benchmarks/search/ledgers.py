"""Trials of other machines of the family: what a prior for the benchmark is made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from search_space.space import Space
from search_space.trial import Trial
from storage import Store
from tests.benchmarks.search.machines import TRAINING, SyntheticMachine, draw_machine
from tests.benchmarks.search.replaying import Timed
from tests.benchmarks.search.strategies import STRATEGIES
from tuner.bench import Bench
from tuner.records.progress import Progress
from tuner.runners.replay import ReplayRunner
from tuner.search.loop import Search

LEDGERS = 12
MIXED = ("random", "descent")
"""Half of the trials lie anywhere, half around what is good: as in the ledgers of users."""


@dataclass(frozen=True)
class Ledger:
    """The trials of one machine, the baseline first, with the space in which they were tried."""

    machine: str
    space: Space
    trials: tuple[Trial, ...]


def training_ledgers(ledgers: int = LEDGERS, trials: int = 40, first: int = 0) -> list[Ledger]:
    """Trials of machines that the benchmark never searches, always the same."""
    machines = (draw_machine(TRAINING + number) for number in range(first, first + ledgers))
    return [_ledger(machine, trials) for machine in machines]


def _ledger(machine: SyntheticMachine, trials: int) -> Ledger:
    runner = ReplayRunner(machine, machine.noise)
    with TemporaryDirectory() as folder, Store("sqlite://") as store:
        for place, name in enumerate(MIXED, 1):
            # The second goes on with the trials of the first, as a later run of a user does.
            plan = machine.plan(trials * place // len(MIXED), Path(folder))
            with Bench(plan, store, runner, Progress()) as bench:
                found = list(Search(bench, Timed(STRATEGIES[name](plan))).run())
    return Ledger(machine.name, machine.space, tuple(found))
