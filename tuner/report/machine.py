"""What was found on this machine, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from search_space.hardware.detect import PACKAGES
from search_space.hardware.machine import Machine
from search_space.units import format_size


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
