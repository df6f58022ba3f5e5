"""``tune machine``."""

from __future__ import annotations

import click

from tuner.cli.options import as_json
from tuner.cli.output import print_json, stderr, stdout


@click.command()
@click.option("--device", help="cpu, cuda, mps, xpu or hpu. [default: the best that is there]")
@click.option("--all", "all_wanted", is_flag=True, help="Tell what is not usable, and why not.")
@as_json
def machine(device: str | None, all_wanted: bool, json_wanted: bool) -> None:
    """Show what this machine has, and with --all what it lacks.

    \b
    Example: tune machine
    """
    from tuner.discovery.probing import examine_machine
    from tuner.processes.children import Children
    from tuner.report.machine import machine_json, machine_text

    with Children() as children, stderr().status("looking around"):
        description, absent = examine_machine(children, device)
    if json_wanted:
        print_json(machine_json(description, absent))
    else:
        stdout().print(machine_text(description, absent, all_wanted))
