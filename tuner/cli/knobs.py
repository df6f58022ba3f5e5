"""``tune knobs``."""

from __future__ import annotations

import json
from typing import Any

import click

from tuner.cli.options import (
    as_json,
    quality_options,
    workload_options,
)
from tuner.cli.output import stderr, stdout


@click.command()
@click.argument("model")
@workload_options
@quality_options
@as_json
def knobs(model: str, json_wanted: bool, **options: Any) -> None:
    """List every knob and choice for MODEL: available here, or why not.

    \b
    Example: tune knobs reference:sd15-tiny
    """
    from search_space.space import Space
    from tuner.discovery.context import discover
    from tuner.discovery.models import check_name
    from tuner.processes.children import Children
    from tuner.records.request import request_of
    from tuner.report.knobs import knobs_json, knobs_table

    check_name(model)
    images = 1 if options["objective"] == "session" else None
    request = request_of(model, **options, images=images)
    with Children() as children, stderr().status(f"loading {model}"):
        space = Space(discover(children, request))
    if json_wanted:
        click.echo(json.dumps(knobs_json(space), indent=2))
    else:
        stdout().print(knobs_table(space))
