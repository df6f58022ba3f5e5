"""The state of store and machine, and what would unlock more choices, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType

from search_space.hardware.detect import PACKAGES
from search_space.hardware.machine import Machine
from search_space.units import format_size
from tuner.report.format import counted, moment
from tuner.report.listing import GLUE, Listing, Paragraph, Row, apart, titled


@dataclass(frozen=True)
class StoreState:
    """Where the store is, what is wrong with it, and what it holds."""

    place: str
    problem: str | None = None
    studies: tuple[Mapping[str, Any], ...] = ()

    @property
    def trials(self) -> int:
        return sum(study["trials"] for study in self.studies)


def doctor_json(
    store: StoreState, machine: Machine, model: str, waiting: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """The stable form."""
    return {
        "store": {
            "place": store.place,
            "problem": store.problem,
            "studies": len(store.studies),
            "trials": store.trials,
        },
        "machine": {
            "device": machine.device,
            "device_name": machine.device_name,
            "packages": dict(machine.packages),
            "not_installed": [name for name in PACKAGES if name not in machine.packages],
        },
        "model": model,
        "unlocks": [
            {"command": command, "choices": list(choices)} for command, choices in waiting.items()
        ],
    }


def doctor_text(
    store: StoreState, machine: Machine, model: str, waiting: Mapping[str, Sequence[str]]
) -> Group:
    """The same as text."""
    software = [f"{name}{GLUE}{version}" for name, version in machine.packages.items()]
    broken = [name for name, reason in machine.probes.items() if reason is not None]
    rows = [
        Row(("store",), store.place),
        Row(("",), _store_text(store)),
        Row(("device",), f"{machine.device}: {machine.device_name}"),
        Row(("memory",), _memory(machine)),
        Row(("packages",), ", ".join(software)),
        Row(
            ("not usable",),
            f"{counted(len(broken), 'feature')}: 'tune machine --all' says why",
        ),
    ]
    parts: list[RenderableType] = [Listing(tuple(rows))]
    if waiting:
        unlocks = tuple(
            Row((_named(choices), str(len(choices))), command)
            for command, choices in waiting.items()
        )
        columns = ("knobs", "choices", "command or option of tune run")
        title = f"What would unlock more for {model} here"
        parts.append(titled(title, Listing(unlocks, columns, ("choices",))))
    else:
        parts.append(Paragraph(f"Nothing that could be installed would unlock more for {model}."))
    parts.append(Paragraph("'tune knobs MODEL' says of every other choice why it cannot be had."))
    return apart(parts)


def _store_text(store: StoreState) -> str:
    if store.problem is not None:
        return store.problem
    last = max((str(study["last_at"]) for study in store.studies), default=None)
    when = f", the last of {moment(last)}" if last else ""
    studies = "1 study" if len(store.studies) == 1 else f"{len(store.studies)} studies"
    held = f"{counted(store.trials, 'trial')} in {studies}"
    return f"in order: {held}{when}"


def _memory(machine: Machine) -> str:
    host = format_size(machine.host_bytes)
    on_device = f"{format_size(machine.device_bytes)}, and {host} of the host"
    return host if machine.device == "cpu" else on_device


def _named(choices: Sequence[str]) -> str:
    names = dict.fromkeys(choice.partition("=")[0] for choice in choices)
    return ", ".join(names)
