"""One search of one table: what was found after each trial, by its true latency."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from search_space.config import Config
from search_space.proposal import Proposal, Reason
from search_space.trial import Trial
from storage import Store
from tests.benchmarks.search.strategies import STRATEGIES, Proposes
from tuner.bench import Bench
from tuner.records.objective import best
from tuner.records.plan import Plan
from tuner.records.progress import Ending, Progress
from tuner.runners.replay import ReplayRunner, Table
from tuner.search.loop import Search

WITHIN = 0.95
"""A config this near to the optimum counts as found."""


class Subject(Table, Protocol):
    """What is searched: a table that knows its own optimum."""

    @property
    def name(self) -> str: ...

    @property
    def noise(self) -> float: ...

    @property
    def optimum(self) -> tuple[Config, float]: ...

    def true_latency_s(self, config: Config) -> float | None: ...

    def plan(self, trials: int, folder: Path, seed: int = 0) -> Plan: ...


@dataclass(frozen=True)
class Curve:
    """What one search had after each trial: charged seconds and the fraction of the optimum."""

    strategy: str
    machine: str
    seed: int
    charged_s: tuple[float, ...]
    fractions: tuple[float, ...]
    failed: int
    proposal_cpu_s: float

    def fraction(self, trials: int) -> float:
        """The fraction of the optimum after so many trials, or at the end if that came before."""
        return self.fractions[min(trials, len(self.fractions)) - 1]

    def after(self, spent_s: float) -> float:
        """The fraction of the optimum once so many seconds have been charged."""
        place = bisect_right(self.charged_s, spent_s)
        return self.fractions[place - 1] if place else 0.0

    @property
    def to_within_s(self) -> float | None:
        """The charged seconds until it was near the optimum to stay; None where it never was."""
        far = [place for place, fraction in enumerate(self.fractions) if fraction < WITHIN]
        first = far[-1] + 1 if far else 0
        return self.charged_s[first] if first < len(self.charged_s) else None


class Timed:
    """A strategy as a proposer whose CPU seconds are added up."""

    def __init__(self, proposer: Proposes) -> None:
        self.cpu_s = 0.0
        self.proposals = 0
        self._proposer = proposer

    def propose(self, left_s: float, busy: Collection[Config] = ()) -> Proposal | Ending:
        self.proposals += 1
        with self._timing():
            proposed = self._proposer.propose()
        if isinstance(proposed, Config):
            return Proposal(proposed, Reason.SAMPLER)
        return proposed or Ending.EXHAUSTED

    def learn(self, trial: Trial) -> None:
        with self._timing():
            self._proposer.learn(trial)

    @contextmanager
    def _timing(self) -> Iterator[None]:
        began_s = time.process_time()
        yield
        self.cpu_s += time.process_time() - began_s


def replay(subject: Subject, strategy: str, seed: int, trials: int) -> Curve:
    """Search a table by a strategy, through the bench and the ledger of a real run."""
    charged_s: list[float] = []
    fractions: list[float] = []
    failed = 0
    run = ReplayRunner(subject, subject.noise, seed)
    with TemporaryDirectory() as folder, Store("sqlite://") as store:
        plan = subject.plan(trials, Path(folder), seed)
        proposer = Timed(STRATEGIES[strategy](plan))
        with Bench(plan, store, run, Progress()) as bench:
            for trial in Search(bench, proposer).run():
                failed += trial.judged(plan.budget) is not None
                charged_s.append(run.charged_s)
                fractions.append(found(subject, bench.trials, plan))
    cpu_s = proposer.cpu_s / max(1, proposer.proposals)
    return Curve(strategy, subject.name, seed, tuple(charged_s), tuple(fractions), failed, cpu_s)


def found(subject: Subject, trials: list[Trial], plan: Plan) -> float:
    """The fraction of the optimum that the config has which would be chosen now, as measured."""
    chosen = best(trials, plan.budget, plan.objective)
    latency_s = subject.true_latency_s(chosen.config) if chosen else None
    return subject.optimum[1] / latency_s if latency_s else 0.0
