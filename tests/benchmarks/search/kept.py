"""The curves of a benchmark as they are kept: compressed, with command, machine and date."""

from __future__ import annotations

import gzip
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.search.replaying import Curve

KEPT = Path(__file__).with_name("kept.json.gz")
"""What docs/search-benchmark.md shows."""


@dataclass(frozen=True)
class Made:
    """How the curves of a strategy came to be; their CPU seconds are of this machine."""

    command: str
    machine: str
    date: str


@dataclass(frozen=True)
class Kept:
    """All curves, and how those of each strategy were made."""

    curves: tuple[Curve, ...] = ()
    made: Mapping[str, Made] = field(default_factory=dict)

    def has(self, strategy: str, machine: str, seed: int) -> bool:
        return any(
            (curve.strategy, curve.machine, curve.seed) == (strategy, machine, seed)
            for curve in self.curves
        )

    def without(self, strategies: Iterable[str]) -> Kept:
        """The same without the curves of these strategies."""
        names = set(strategies)
        curves = tuple(curve for curve in self.curves if curve.strategy not in names)
        made = {name: each for name, each in self.made.items() if name not in names}
        return Kept(curves, made)

    def with_curves(self, curves: Iterable[Curve], command: str) -> Kept:
        """The same with new curves, made now on this machine."""
        new = tuple(curves)
        today = datetime.now(UTC).date().isoformat()
        made = Made(command, processor(), today)
        names = dict.fromkeys(curve.strategy for curve in new)
        return replace(
            self, curves=self.curves + new, made={**self.made, **dict.fromkeys(names, made)}
        )


def processor() -> str:
    """What the computer's processor calls itself."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def read(path: Path) -> Kept:
    """What is kept in a file, nothing where there is none."""
    if not path.exists():
        return Kept()
    facts = json.loads(gzip.decompress(path.read_bytes()))
    made = {name: Made(**each) for name, each in facts["made"].items()}
    return Kept(tuple(_curve(each) for each in facts["curves"]), made)


def write(path: Path, kept: Kept) -> None:
    """Keep the curves, the same bytes for the same curves."""
    curves = sorted(kept.curves, key=lambda each: (each.strategy, each.machine, each.seed))
    facts = {
        "made": {name: asdict(each) for name, each in sorted(kept.made.items())},
        "curves": [_short(asdict(curve)) for curve in curves],
    }
    text = json.dumps(facts, separators=(",", ":"))
    half = path.with_name(f"{path.name}.new")
    half.write_bytes(gzip.compress(text.encode(), mtime=0))
    half.replace(path)


def _curve(facts: dict[str, Any]) -> Curve:
    return Curve(
        **{
            **facts,
            "charged_s": tuple(facts["charged_s"]),
            "fractions": tuple(facts["fractions"]),
        }
    )


def _short(facts: dict[str, Any]) -> dict[str, Any]:
    return {
        **facts,
        "charged_s": [round(each, 1) for each in facts["charged_s"]],
        "fractions": [round(each, 4) for each in facts["fractions"]],
        "proposal_cpu_s": round(facts["proposal_cpu_s"], 4),
    }
