"""What is to be known before a run: a busy machine, trials of another one, a migrated store."""

from __future__ import annotations

from search_space.hardware.machine import Machine
from storage import Store
from tuner.measuring.noise.neighbours import busy
from tuner.records.plan import Plan


def notes(plan: Plan, store: Store) -> list[str]:
    """The sentences that a run begins with."""
    machine = plan.space.context.machine
    sentences = [
        f"{_trials(count)} of this model were measured {difference(other, machine)}: measured anew."
        for other, count in store.elsewhere(machine, plan.workload)
    ]
    if store.backup is not None:
        sentences.append(f"The store was of an older version. What it was is kept: {store.backup}")
    neighbours = busy()
    return [*sentences, neighbours] if neighbours else sentences


def difference(other: Machine, machine: Machine) -> str:
    """In what another machine differs: ``with 1 thread; this is 2``."""
    if other.device_name != machine.device_name or other.device != machine.device:
        return f"on {other.device_name} ({other.device})"
    if other.threads != machine.threads:
        threads = "thread" if other.threads == 1 else "threads"
        return f"with {other.threads} {threads}; this is {machine.threads}"
    for name in sorted(other.packages.keys() | machine.packages.keys()):
        before, now = other.packages.get(name), machine.packages.get(name)
        if before != now:
            return f"with {name} {before or 'missing'}; this is {now or 'missing'}"
    for name, value in machine.hardware.items():
        if other.hardware.get(name) != value:
            label = name.removesuffix("_bytes").replace("_", " ")
            return f"with another {label} ({other.hardware.get(name)}; this is {value})"
    return "on a machine described otherwise"


def _trials(count: int) -> str:
    return "1 trial" if count == 1 else f"{count} trials"
