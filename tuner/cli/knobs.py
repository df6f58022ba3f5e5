"""``tune knobs``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from tuner.cli.options import (
    as_json,
    quality_options,
    workload_options,
)
from tuner.cli.output import stderr, stdout
from tuner.cli.request import request_of

if TYPE_CHECKING:
    pass


@click.command()
@click.argument("model")
@workload_options
@quality_options
@as_json
def knobs(model: str, json_wanted: bool, **asked: Any) -> None:
    """List every knob and choice for MODEL: available here, or why not.

    \b
    Example: tune knobs reference:sd15-tiny
    """
    from search_space.space import Space
    from tuner.discovery.context import discover
    from tuner.processes.children import Children
    from tuner.report.knobs import knobs_json, knobs_table

    images = 1 if asked["objective"] == "session" else None
    request = request_of(model, **asked, images=images, fix=())
    with Children() as children, stderr().status(f"loading {model}"):
        space = Space(discover(children, request))
    if json_wanted:
        click.echo(json.dumps(knobs_json(space), indent=2))
    else:
        stdout().print(knobs_table(space))
