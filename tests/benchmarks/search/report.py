"""The table of a benchmark: each strategy in a row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy

from tests.benchmarks.search.replaying import WITHIN, Curve
from tests.benchmarks.search.strategies import STRATEGIES
from tests.benchmarks.search.tables import PREFIX

AFTER_TRIALS = (5, 10, 20, 40)
AFTER_S = (300, 600, 1200, 2400, 4800)


@dataclass(frozen=True)
class Summary:
    """What one strategy reached over all machines and seeds."""

    strategy: str
    runs: int
    machines: int
    after_trials: tuple[tuple[float, float], ...]
    """Median and 10th percentile of the fraction of the optimum."""
    after_s: tuple[tuple[float, float], ...]
    within: float
    """The share of runs that came near the optimum."""
    to_within_s: float | None
    """The median of the charged seconds until then; None where half of the runs never did."""
    failed: float
    proposal_cpu_s: float


def summary(strategy: str, curves: Sequence[Curve]) -> Summary:
    """The summary of one strategy's curves."""
    ends_s = [numpy.inf if curve.to_within_s is None else curve.to_within_s for curve in curves]
    middle_s = float(numpy.median(ends_s))
    return Summary(
        strategy,
        len(curves),
        len({curve.machine for curve in curves}),
        tuple(_spread(curve.fraction(count) for curve in curves) for count in AFTER_TRIALS),
        tuple(_spread(curve.after(spent_s) for curve in curves) for spent_s in AFTER_S),
        float(numpy.mean([curve.fractions[-1] >= WITHIN for curve in curves])),
        middle_s if numpy.isfinite(middle_s) else None,
        float(numpy.mean([curve.failed for curve in curves])),
        float(numpy.mean([curve.proposal_cpu_s for curve in curves])),
    )


def _spread(fractions: Iterable[float]) -> tuple[float, float]:
    values = list(fractions)
    return float(numpy.median(values)), float(numpy.percentile(values, 10))


def summaries(curves: Sequence[Curve]) -> list[Summary]:
    """The strategies in the order of the benchmark."""
    shown = {curve.strategy for curve in curves}
    names = [name for name in STRATEGIES if name in shown]
    return [summary(name, [each for each in curves if each.strategy == name]) for name in names]


def parted(curves: Iterable[Curve]) -> tuple[list[Curve], list[Curve]]:
    """The curves on synthetic machines, and those on real tables."""
    every = list(curves)
    real = [curve for curve in every if curve.machine.startswith(PREFIX)]
    return [curve for curve in every if not curve.machine.startswith(PREFIX)], real


def report(curves: Iterable[Curve]) -> str:
    """The table of the synthetic machines and, where there are any, that of the real ones."""
    return "\n\n".join(table(each) for each in parted(curves) if each)


def table(curves: Sequence[Curve]) -> str:
    """The table, in Markdown: cells of median / 10th percentile."""
    heads = [
        "strategy",
        *(f"{count} trials" if count == AFTER_TRIALS[0] else str(count) for count in AFTER_TRIALS),
        *(f"{spent_s} s" for spent_s in AFTER_S),
        f"within {1 - WITHIN:.0%}",
        "s to it",
        "failed",
        "CPU s a proposal",
        "runs",
    ]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    lines += [f"| {' | '.join(_cells(each))} |" for each in summaries(curves)]
    return "\n".join(lines)


def _cells(row: Summary) -> list[str]:
    return [
        row.strategy,
        *(f"{_short(middle)}/{_short(low)}" for middle, low in (*row.after_trials, *row.after_s)),
        _short(row.within),
        "never" if row.to_within_s is None else f"{row.to_within_s:.0f}",
        f"{row.failed:.1f}",
        f"{row.proposal_cpu_s:.3f}",
        f"{row.runs} on {row.machines}",
    ]


def _short(fraction: float) -> str:
    return f"{fraction:.2f}".removeprefix("0")
