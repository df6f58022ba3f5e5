"""Real tables: what every config of a reduced space did on a real machine, to be replayed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy

from search_space.budget import Budget
from search_space.config import Config
from search_space.hardware.machine import Machine
from search_space.knob import Context, Tier
from search_space.pipeline.spec import PipelineSpec
from search_space.space import Space
from search_space.trial import Condition, Failure, FailureKind, Measurement, Peak, Trial
from search_space.workload import Workload
from tests.benchmarks.search.spaces import ReducedSpace, with_seed
from tuner.records.plan import Plan
from tuner.runners.replay import Recorded, charged

TABLES = Path(__file__).parents[1] / "tables"
SUFFIX = ".json.gz"

QUANTILES = (0.30, 0.45, 0.70)
"""Each table is searched within three budgets: at these quantiles of its peaks."""

NOISE = 0.02
"""Of a table's seconds, which are medians: the middle of what the synthetic machines have."""


@dataclass(frozen=True)
class Made:
    """The command and the day of one addition to a table, and how many configs it brought."""

    command: str
    date: str
    configs: int


@dataclass(frozen=True)
class RealTable:
    """What became of the configs of one workload on one machine."""

    context: Context
    choices: Mapping[str, Sequence[str]]
    outcomes: Mapping[Config, Recorded]
    made: tuple[Made, ...] = ()

    @cached_property
    def space(self) -> TableSpace:
        return TableSpace(self.context, self.choices)

    @cached_property
    def missing(self) -> int:
        """How many configs of the space have no outcome; a search may propose any of them."""
        valid = self.space.valid
        return sum(valid.config(row) not in self.outcomes for row in range(len(valid)))

    @property
    def disturbed(self) -> int:
        """How many outcomes were measured while other processes took part of the machine."""
        return sum(each.outcome.disturbed is not None for each in self.outcomes.values())


class TableSpace(ReducedSpace):
    """The space of a table, as it was on its machine: what is available here does not matter."""

    def __init__(self, context: Context, choices: Mapping[str, Sequence[str]]) -> None:
        Space.__init__(self, context, include=tuple(choices))
        for knob in self.knobs:
            self.choices[knob.name] = tuple(choices.get(knob.name, knob.values[:1]))


@dataclass(frozen=True)
class WithinBudget:
    """A table within one budget; a subject of the benchmark."""

    name: str
    table: RealTable
    quantile: float
    noise: float = NOISE

    @cached_property
    def budget(self) -> Budget:
        outcomes = (recorded.outcome for recorded in self.table.outcomes.values())
        peaks = [each.peak_bytes for each in outcomes if isinstance(each, Measurement)]
        memory_bytes = int(numpy.quantile(peaks, self.quantile, method="higher"))
        return Budget(memory_bytes, quality=self.table.context.quality)

    def recorded(self, config: Config) -> Recorded:
        recorded = self.table.outcomes[config]
        if isinstance(recorded.outcome, Failure):
            return recorded
        # Waiting for other processes to be done is of that day, and not of the config.
        return replace(recorded, cost_s=charged(recorded.outcome.seconds))

    def true_latency_s(self, config: Config) -> float | None:
        """The latency that was measured, None where the config is not feasible."""
        outcome = self.table.outcomes[config].outcome
        if isinstance(outcome, Failure):
            return None
        feasible = Trial(config, outcome, 0.0, "").judged(self.budget) is None
        return outcome.latency_s if feasible else None

    @cached_property
    def optimum(self) -> tuple[Config, float]:
        latencies_s = {config: self.true_latency_s(config) for config in self.table.outcomes}
        feasible_s = {config: each for config, each in latencies_s.items() if each is not None}
        return min(feasible_s.items(), key=lambda each: each[1])

    def plan(self, trials: int, folder: Path, seed: int = 0) -> Plan:
        space = with_seed(self.table.space, seed)
        return Plan(space, replace(self.budget, quality=None), trials, None, 3600.0, folder)


def subject(path: Path, quantile: float) -> WithinBudget:
    """The table of a file within a budget."""
    return WithinBudget(name_of(path, quantile), read(path), quantile)


def name_of(path: Path, quantile: float) -> str:
    return f"{PREFIX}{path.name.removesuffix(SUFFIX)} at {quantile:.0%}"


PREFIX = "table "
"""What the names of tables begin with, and no name of a synthetic machine."""


def read(path: Path) -> RealTable:
    """The table that is kept in a file."""
    facts = json.loads(gzip.decompress(path.read_bytes()))
    context = Context(
        Machine.from_json(facts["machine"]),
        PipelineSpec.from_json(facts["spec"]),
        Workload.from_json(facts["workload"]),
        Tier(facts["quality"]),
    )
    outcomes = {
        Config(each["config"]): Recorded(_outcome(each), each["cost_s"])
        for each in facts["outcomes"]
    }
    made = tuple(Made(**each) for each in facts["made"])
    return RealTable(context, facts["choices"], outcomes, made)


def write(path: Path, table: RealTable) -> None:
    """Keep a table; what could be a path of the machine is left out."""
    context = table.context
    outcomes = [
        {"config": config.changes, "cost_s": round(recorded.cost_s, 3), **_facts(recorded.outcome)}
        for config, recorded in sorted(table.outcomes.items(), key=lambda each: each[0].key)
    ]
    facts = {
        "made": [asdict(each) for each in table.made],
        "machine": asdict(context.machine),
        "spec": {**asdict(context.spec), "folder": ""},
        "workload": asdict(context.workload),
        "quality": context.quality.value,
        "choices": {name: list(values) for name, values in table.choices.items()},
        "outcomes": outcomes,
    }
    text = json.dumps(facts, separators=(",", ":"))
    half = path.with_name(f"{path.name}.new")
    half.write_bytes(gzip.compress(text.encode(), mtime=0))
    half.replace(path)


def _facts(outcome: Measurement | Failure) -> dict[str, Any]:
    complaints = [asdict(each) for each in worst(outcome.conditions)]
    if isinstance(outcome, Failure):
        names = ("message", "phase", "peak_bytes")
        of_failure = {name: getattr(outcome, name) for name in names}
        return {
            "failure": {**of_failure, "kind": outcome.kind.value, "conditions": complaints},
        }
    seconds = {
        kind: [round(each, 5) for each in samples] for kind, samples in outcome.seconds.items()
    }
    facts: dict[str, Any] = {"seconds": seconds, "peaks": [asdict(peak) for peak in outcome.peaks]}
    facts |= {"fidelity": dict(outcome.fidelity), "conditions": complaints}
    return {**facts, "images": outcome.images, "counted": outcome.counted}


def worst(conditions: Iterable[Condition]) -> list[Condition]:
    """The worst complaint of each kind about what counts: there may be one for each call."""
    complaints: dict[tuple[str, str], Condition] = {}
    for each in conditions:
        known = complaints.get((each.kind, each.sample))
        if each.complaint and each.sample in ("", "steady"):
            complaints[each.kind, each.sample] = max(known or each, each, key=lambda one: one.value)
    return list(complaints.values())


def _outcome(facts: Mapping[str, Any]) -> Measurement | Failure:
    if failure := facts.get("failure"):
        kind = FailureKind(failure["kind"])
        return Failure(**{**failure, "kind": kind, "conditions": _conditions(failure)})
    return Measurement(
        {kind: tuple(samples) for kind, samples in facts["seconds"].items()},
        tuple(Peak(**peak) for peak in facts["peaks"]),
        facts["fidelity"],
        _conditions(facts),
        images=facts["images"],
        counted=facts["counted"],
    )


def _conditions(facts: Mapping[str, Any]) -> tuple[Condition, ...]:
    return tuple(Condition(**condition) for condition in facts["conditions"])
