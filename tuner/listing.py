"""What there is to choose from and what it would run on, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from search_space.detect import PACKAGES
from search_space.knob import Choice, Knob
from search_space.machine import Machine
from search_space.space import Space
from search_space.units import format_size

if TYPE_CHECKING:
    from rich.table import Table


def knobs_json(space: Space) -> list[dict[str, Any]]:
    """The stable form of the knobs: each with its choices, available or with the reason."""
    machine = space.context.machine
    return [
        {
            "name": knob.name,
            "doc": knob.doc,
            "choices": [
                {
                    "value": choice.value,
                    "available": space.reason(knob, choice.value) is None,
                    "reason": space.reason(knob, choice.value),
                    "tier": choice.tier.value,
                    "verified": choice.verified(machine),
                }
                for choice in knob.choices
            ],
        }
        for knob in space.knobs
    ]


def knobs_table(space: Space) -> Table:
    """One row a choice: available here, or why not."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("knob", "choice", "quality", "available")
    for knob in space.knobs:
        for position, choice in enumerate(knob.choices):
            table.add_row(
                "" if position else knob.name,
                choice.value,
                choice.tier.value,
                escape(_availability(space, knob, choice)),
            )
        table.add_section()
    return table


def _availability(space: Space, knob: Knob, choice: Choice) -> str:
    reason = space.reason(knob, choice.value)
    if reason:
        return f"no: {reason}"
    machine = space.context.machine
    unverified = f"yes, unverified on {machine.device}"
    return "yes" if choice.verified(machine) else unverified


def machine_json(machine: Machine, absent: Mapping[str, str]) -> dict[str, Any]:
    """The machine, the kinds of device that are not there, and what each probe found."""
    return {**asdict(machine), "absent": dict(absent)}


def machine_text(machine: Machine, absent: Mapping[str, str]) -> str:
    """The machine, to be read."""
    count = f"{machine.device_count} x " if machine.device_count > 1 else ""
    facts = {
        "device": f"{machine.device}: {count}{machine.device_name}",
        "device memory": format_size(machine.device_bytes),
        "host memory": format_size(machine.host_bytes),
        "cores": f"{machine.cores}, of which torch uses {machine.threads}",
        "system": machine.system,
        "fast dtypes": ", ".join(machine.native_dtypes),
    }
    works = {name: "works" for name, reason in machine.probes.items() if reason is None}
    fails = {name: reason for name, reason in machine.probes.items() if reason is not None}
    missing = {name: "not installed" for name in PACKAGES if name not in machine.packages}
    sections = {
        "Machine": facts,
        "Other devices": absent,
        "Packages": {**machine.packages, **missing},
        "What knobs ask for": {**works, **fails},
    }
    width = max(len(name) for rows in sections.values() for name in rows)
    return "\n\n".join(
        "\n".join([title, *(f"  {name:<{width}}  {what}" for name, what in rows.items())])
        for title, rows in sections.items()
    )
