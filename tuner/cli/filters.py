"""The options by which trials of the store are chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tuner.cli.options import options

if TYPE_CHECKING:
    from tuner.history.read import History, Selection

STATES = ("measured", "infeasible", "failed")

filter_options = options(
    click.option("--model", help="Only trials of this model."),
    click.option("--size", metavar="WxH", help="Only this size: 512x512."),
    click.option("--machine", metavar="NAME", help="A part of the device's name, or its number."),
    click.option("--state", type=click.Choice(STATES), help="Only trials in this state."),
    click.option(
        "--where",
        nargs=3,
        multiple=True,
        metavar="FIELD OP VALUE",
        help="As latency_s lt 500ms; may be repeated, all hold. See docs/history.md.",
    ),
)


def selected(
    history: History,
    model: str | None,
    size: str | None,
    machine: str | None,
    state: str | None,
    where: tuple[tuple[str, str, str], ...],
) -> Selection:
    """The trials for which all hold; raises UsageError. Says which models there are, if need be."""
    from dataclasses import replace
    from functools import partial

    from tuner.history.filters import filter_of, machine_filter, size_filters

    filters = [filter_of(*each) for each in where]
    if model is not None:
        filters.append(filter_of("model", "=", model))
    if size is not None:
        filters += size_filters(size)
    if machine is not None:
        filters.append(machine_filter(machine))
    if state is not None:
        filters.append(filter_of("state", "=", state))
    history.explain_nothing(model, partial(click.echo, err=True))
    return replace(history.records, filters=tuple(filters))
