"""What was found on this machine, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Group

from search_space.hardware.detect import PACKAGES
from search_space.hardware.machine import Machine
from search_space.units import format_size
from tuner.report.format import counted
from tuner.report.listing import GLUE, Listing, Paragraph, Row, apart, titled


def machine_json(machine: Machine, absent: Mapping[str, str]) -> dict[str, Any]:
    """The machine, the kinds of device that it lacks, and the result of each probe."""
    return {**asdict(machine), "absent": dict(absent)}


def machine_text(machine: Machine, absent: Mapping[str, str], all_wanted: bool = False) -> Group:
    """The machine in short, or with all that is not there and why not."""
    works = [name for name, reason in machine.probes.items() if reason is None]
    failures = {name: reason for name, reason in machine.probes.items() if reason is not None}
    absent_packages = [name for name in PACKAGES if name not in machine.packages]
    if all_wanted:
        return apart(
            [
                titled("Machine", _facts(_device_facts(machine))),
                titled("Other devices", _facts(absent)),
                titled("Packages", _facts(machine.packages)),
                titled("Not installed", Paragraph(", ".join(absent_packages))),
                titled("Works here", Paragraph(", ".join(works))),
                titled("Does not work here", _facts(failures)),
            ]
        )
    software = (f"{name}{GLUE}{version}" for name, version in machine.packages.items())
    lacking = (
        counted(len(absent), "kind") + " of device",
        counted(len(absent_packages), "package"),
        counted(len(failures), "feature"),
    )
    in_short = {
        **_device_facts(machine),
        "packages": ", ".join(software),
        "usable": ", ".join(name.replace(" ", GLUE) for name in works),
        "not usable": f"{', '.join(lacking)}: 'tune machine --all' says why",
    }
    return Group(_facts(in_short))


def _device_facts(machine: Machine) -> dict[str, str]:
    count = f"{machine.device_count} x " if machine.device_count > 1 else ""
    host = format_size(machine.host_bytes)
    apart_from_host = f"{format_size(machine.device_bytes)}, and {host} of the host"
    return {
        "device": f"{machine.device}: {count}{machine.device_name}",
        "memory": host if machine.device == "cpu" else apart_from_host,
        "cores": f"{machine.cores}, of which torch uses {machine.threads}",
        "fast dtypes": ", ".join(machine.native_dtypes),
        "system": machine.system,
    }


def _facts(facts: Mapping[str, str]) -> Listing:
    return Listing(tuple(Row((name,), fact) for name, fact in facts.items()))
