"""``tune knobs``."""

from __future__ import annotations

from typing import Any

import click

from tuner.cli.options import as_json, quality_options, workload_options
from tuner.cli.output import print_json, stderr, stdout


@click.command()
@click.argument("model")
@workload_options
@quality_options
@click.option("--all", "all_wanted", is_flag=True, help="List every choice with its reason.")
@click.option("--knob", "name", metavar="KNOB", help="Show one knob in full.")
@as_json
def knobs(
    model: str, all_wanted: bool, name: str | None, json_wanted: bool, **options: Any
) -> None:
    """Show what can be chosen for MODEL here, and what cannot.

    \b
    Example: tune knobs reference:sd15-tiny --knob precision
    """
    from search_space.catalog import check_known
    from search_space.space import Space
    from tuner.discovery.context import discover
    from tuner.discovery.models import check_name
    from tuner.processes.children import Children
    from tuner.records.request import request_of
    from tuner.report.knobs import all_choices, knobs_json, knobs_text, one_knob

    check_name(model)
    knob = None if name is None else check_known(name)
    images = 1 if options["objective"] == "session" else None
    request = request_of(model, **options, images=images)
    with Children() as children, stderr().status(f"loading {model}"):
        space = Space(discover(children, request))
    if json_wanted:
        print_json(knobs_json(space))
    elif knob is not None:
        stdout().print(one_knob(space, knob))
    else:
        stdout().print(all_choices(space) if all_wanted else knobs_text(space))
