"""Knobs and choices, as a table and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from search_space.knob import Choice, Knob
from search_space.space import Space

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
                    "note": choice.note(space.context),
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
    machine, note = space.context.machine, choice.note(space.context)
    unverified = [] if choice.verified(machine) else [f"unverified on {machine.device}"]
    return ", ".join(["yes", *unverified, *([note] if note else [])])
