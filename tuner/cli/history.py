"""``tune trials``, ``studies``, ``show``, ``compare``, ``best`` and ``pareto``."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from search_space.knob import Tier
from tuner.cli.filters import filter_options, selected
from tuner.cli.options import POSITIVE, SIZE, as_json, store_option
from tuner.cli.output import print_json, stdout


@click.command()
@filter_options
@click.option(
    "--sort", metavar="FIELD", multiple=True, help="By this field; -FIELD: largest first."
)
@click.option("--limit", type=POSITIVE, help="The first so many; the newest where not sorted.")
@click.option("--columns", metavar="FIELDS", help="Show these: number,latency_s,config.")
@store_option
@as_json
def trials(
    sort: tuple[str, ...],
    limit: int | None,
    columns: str | None,
    store: str | None,
    json_wanted: bool,
    **filters: Any,
) -> None:
    """List stored trials, filtered and sorted as asked.

    They stand by model, size and machine, the newest last.

    \b
    Example: tune trials --state measured --where latency_s lt 2 --sort latency_s
    """
    from tuner.history.filters import check_field
    from tuner.history.read import History
    from tuner.report.trials import columns_json, columns_table, record_json, trials_table

    names = [name.strip() for name in columns.split(",")] if columns else []
    for name in names:
        check_field(name)
    selection = selected(History(store), **filters).sort(*sort)
    records = (selection if limit is None else selection.limit(limit)).records
    if json_wanted:
        form = partial(columns_json, columns=names) if names else record_json
        print_json([form(record) for record in records])
    elif names:
        stdout().print(columns_table(records, names))
    else:
        stdout().print(trials_table(records, newest_last=not sort))


@click.command()
@filter_options
@store_option
@as_json
def studies(store: str | None, json_wanted: bool, **filters: Any) -> None:
    """List what was searched for, and what it came to.

    \b
    Example: tune studies --model reference:sd15-tiny
    """
    from tuner.history.read import History
    from tuner.report.studies import studies_table, study_json

    history = History(store)
    found = history.studies(selected(history, **filters).filters)
    if json_wanted:
        print_json([study_json(study) for study in found])
    else:
        stdout().print(studies_table(found))


@click.command()
@click.argument("trial", type=int)
@store_option
@as_json
def show(trial: int, store: str | None, json_wanted: bool) -> None:
    """Show one TRIAL: its config, figures and readings.

    It is compared with the default.

    \b
    Example: tune show 3
    """
    from tuner.history.comparison import with_baseline
    from tuner.history.read import History
    from tuner.report.trial import stored_json, stored_text

    history = History(store)
    stored = history.trial(trial)
    if json_wanted:
        print_json(stored_json(stored))
    else:
        comparison = with_baseline(stored.trial, history.same_workload(stored))
        stdout().print(stored_text(stored, comparison))


@click.command()
@click.argument("first", type=int)
@click.argument("second", type=int)
@store_option
@as_json
def compare(first: int, second: int, store: str | None, json_wanted: bool) -> None:
    """Compare the configs and figures of two trials.

    Says whether they can be compared at all. The speed-up is the latency of FIRST over that of
    SECOND.

    \b
    Example: tune compare 3 7
    """
    from tuner.history.read import History
    from tuner.report.comparison import pair_json, pair_text

    pair = History(store).compare(first, second)
    if json_wanted:
        print_json(pair_json(pair))
    else:
        stdout().print(pair_text(pair))


@click.command()
@click.argument("model", required=False)
@click.option("--memory", type=SIZE, help="Choose again within this budget: 8GiB.")
@click.option(
    "--quality",
    type=click.Choice([tier.value for tier in Tier]),
    help="Choose again with this quality. [near where chosen again]",
)
@click.option(
    "--objective",
    type=click.Choice(["latency", "memory"]),
    help="Choose again by this. [latency where chosen again]",
)
@store_option
@as_json
def best(
    model: str | None,
    memory: int | None,
    quality: str | None,
    objective: str | None,
    store: str | None,
    json_wanted: bool,
) -> None:
    """Show the best stored config of each workload.

    Or of those of MODEL. With --memory, --quality or --objective it chooses again from what was
    measured, and measures nothing.

    \b
    Example: tune best reference:sd15-tiny --memory 2GiB
    """
    from tuner.history.read import History
    from tuner.history.winners import rules_by
    from tuner.report.best import best_json, best_table

    history = History(store)
    history.explain_nothing(model, partial(click.echo, err=True))
    if (memory, quality, objective) == (None, None, None):
        winners = history.best(model)
    else:
        rules = rules_by(memory, Tier(quality or Tier.NEAR), objective or "latency")
        winners = history.choose(rules, model)
    if json_wanted:
        print_json([best_json(winner) for winner in winners])
    else:
        stdout().print(best_table(winners))


@click.command()
@filter_options
@store_option
@as_json
def pareto(store: str | None, json_wanted: bool, **filters: Any) -> None:
    """List the trials that no other beats in time and memory.

    They stand by model, size and machine, and are those of the searches, within the limits of their
    runs.

    \b
    Example: tune pareto --model reference:sd15-tiny
    """
    from tuner.history.read import History
    from tuner.report.trials import record_json, trials_table

    records = selected(History(store), **filters).pareto()
    if json_wanted:
        print_json([record_json(record) for record in records])
    else:
        stdout().print(trials_table(records, newest_last=False))
