"""The generated part of docs/search-benchmark.md, from the curves that are kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.benchmarks.search import tables
from tests.benchmarks.search.kept import KEPT, Kept, Made, read
from tests.benchmarks.search.machines import MACHINES
from tests.benchmarks.search.replaying import Curve
from tests.benchmarks.search.report import parted, table
from tests.benchmarks.search.strategies import SLOW, STRATEGIES


def section() -> str:
    """Tables of what is kept, how each row was made, and what real tables there are."""
    kept = read(KEPT)
    synthetic, real = parted(kept.curves)
    most, fewest = on_machines_of_most(synthetic), on_machines_of_all(synthetic)
    count = len({curve.machine for curve in most})
    parts = [f"### On {count} of {MACHINES} synthetic machines", "", table(most)]
    if len(fewest) > 0 and machines_of(fewest).keys() != machines_of(most).keys():
        count = len({curve.machine for curve in fewest})
        parts += ["", f"### All strategies, on the same {count} machines", "", table(fewest)]
    parts += ["", "### On real tables", "", table(real) if real else "None has been searched yet."]
    if listed := tables_kept():
        parts += ["", *listed]
    parts += ["", "### How each row was made", "", *made(kept)]
    return "\n".join(parts)


def machines_of(curves: Iterable[Curve]) -> dict[str, set[str]]:
    """The machines of each strategy."""
    machines: dict[str, set[str]] = {}
    for curve in curves:
        machines.setdefault(curve.strategy, set()).add(curve.machine)
    return machines


def on_machines_of_most(curves: Sequence[Curve]) -> list[Curve]:
    """The curves of quick strategies, on the machines that all of these have searched."""
    return on_machines_of_all([curve for curve in curves if curve.strategy not in SLOW])


def on_machines_of_all(curves: Sequence[Curve]) -> list[Curve]:
    """The curves on those machines that every strategy has searched."""
    machines = machines_of(curves)
    common = set.intersection(*machines.values()) if machines else set()
    return [curve for curve in curves if curve.machine in common]


def tables_kept() -> list[str]:
    """The real tables and how far each is."""
    lines = [
        "| table | machine | configs | disturbed | made by |",
        "| --- | --- | --- | --- | --- |",
    ]
    for path in sorted(tables.TABLES.glob(f"*{tables.SUFFIX}")):
        kept = tables.read(path)
        machine = kept.context.machine
        total = len(kept.space.valid)
        commands = dict.fromkeys(f"`{each.command}`" for each in kept.made)
        days = sorted({each.date for each in kept.made})
        lines.append(
            f"| {path.name.removesuffix(tables.SUFFIX)} | {machine.cores} cores of "
            f"{machine.device_name} | {total - kept.missing} of {total} "
            f"| {kept.disturbed} "
            f"| {', '.join(commands)}; {', '.join(days)} |"
        )
    return lines if len(lines) > 2 else []


def made(kept: Kept) -> list[str]:
    """The command, the machine and the day of all curves."""
    strategies: dict[Made, list[str]] = {}
    for name in STRATEGIES:
        if each := kept.made.get(name):
            strategies.setdefault(each, []).append(name)
    rows = [
        f"| {', '.join(names)} | `{each.command}` | {each.machine} | {each.date} |"
        for each, names in strategies.items()
    ]
    lines = ["| strategies | command | machine | date |", "| --- | --- | --- | --- |", *rows]
    missing = [name for name in STRATEGIES if name not in kept.made]
    return [*lines, "", f"Not run yet: {', '.join(missing)}."] if missing else lines
