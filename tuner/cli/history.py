"""``tune trials``, ``tune show`` and ``tune best``."""

from __future__ import annotations

from functools import partial

import click

from tuner.cli.options import as_json, store_option
from tuner.cli.output import print_json, stdout


@click.command()
@click.option("--model", help="Only trials of this model.")
@store_option
@as_json
def trials(model: str | None, store: str | None, json_wanted: bool) -> None:
    """List the stored trials by model, size and machine, the newest last.

    \b
    Example: tune trials --json | jq '.[] | select(.state == "failed")'
    """
    from tuner.history.read import of_model
    from tuner.report.trials import listed_json, trials_table

    stored_trials = of_model(model, store, partial(click.echo, err=True))
    if json_wanted:
        print_json([listed_json(stored) for stored in stored_trials])
    else:
        stdout().print(trials_table(stored_trials))


@click.command()
@click.argument("trial", type=int)
@store_option
@as_json
def show(trial: int, store: str | None, json_wanted: bool) -> None:
    """Show one TRIAL: config, latency, comparison with the default, all readings.

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
@click.argument("model", required=False)
@store_option
@as_json
def best(model: str | None, store: str | None, json_wanted: bool) -> None:
    """Show the best stored config of each workload, or of those of MODEL.

    \b
    Example: tune best reference:sd15-tiny
    """
    from tuner.history.read import of_model
    from tuner.history.winners import winners
    from tuner.report.best import best_json, best_table

    study_winners = winners(of_model(model, store, partial(click.echo, err=True)))
    if json_wanted:
        print_json([best_json(winner) for winner in study_winners])
    else:
        stdout().print(best_table(study_winners))
