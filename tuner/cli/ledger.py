"""``tune delete``, ``tune merge`` and ``tune export``: trials leave the store, or come to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from search_space.errors import TuneError, UsageError
from tuner.cli.filters import filter_options, selected
from tuner.cli.options import as_json, store_option
from tuner.cli.output import finite, print_json, stdout


@click.command()
@click.argument("trials", type=int, nargs=-1, metavar="[TRIAL]...")
@click.option("--study", "studies", type=int, multiple=True, help="All trials of this study.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
@as_json
def delete(
    trials: tuple[int, ...],
    studies: tuple[int, ...],
    yes: bool,
    store: str | None,
    json_wanted: bool,
) -> None:
    """Delete trials, by number or by study.

    Asks before it does.

    \b
    Example: tune delete 3 7 --study 2
    """
    from tuner.history import exchange
    from tuner.history.read import History
    from tuner.report.format import counted

    if not trials and not studies:
        raise UsageError("nothing to delete: give numbers of trials, or --study")
    numbers = exchange.numbers_of(History(store), trials, studies)
    question = f"Delete {counted(len(numbers), 'trial')} with all readings?"
    if not yes and not _is_agreed(question):
        raise TuneError("nothing was deleted: answer y, or give --yes")
    count = exchange.delete(numbers, store)
    if json_wanted:
        print_json({"deleted": count})
    else:
        stdout().print(f"Deleted {counted(count, 'trial')}.")


@click.command()
@click.argument("other")
@store_option
@as_json
def merge(other: str, store: str | None, json_wanted: bool) -> None:
    """Copy the trials of another store into this one.

    OTHER is a file or SQLAlchemy's URL. What is here already is left out, so that doing it again
    changes nothing.

    \b
    Example: tune merge gpu-server.db
    """
    from tuner.history import exchange
    from tuner.report.format import counted

    merged = exchange.merge(other, store)
    if json_wanted:
        print_json({"added": merged.added, "known": merged.known, "studies": merged.studies})
    else:
        known = f"; {merged.known} were here already" if merged.known else ""
        new = f" of {counted(merged.studies, 'new study')}" if merged.studies == 1 else ""
        new = f" of {merged.studies} new studies" if merged.studies > 1 else new
        stdout().print(f"Added {counted(merged.added, 'trial')}{new}{known}.")


@click.command()
@filter_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "json", "optuna"]),
    default="csv",
    show_default=True,
    help="A line a trial, an array, or a journal that Optuna's tools read.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file; without one it goes to stdout, but for optuna.",
)
@store_option
@as_json
def export(
    form: str, output: Path | None, store: str | None, json_wanted: bool, **filters: Any
) -> None:
    """Write stored trials as CSV, JSON or Optuna's journal.

    \b
    Example: tune export --format optuna --output journal.log
    """
    from tuner.history import exchange
    from tuner.history.read import History

    selection = selected(History(store), **filters)
    if form == "optuna":
        if output is None:
            raise UsageError("a journal of Optuna's is a file: give --output journal.log")
        _optuna(selection.records, output)
    else:
        rows = [record.values() for record in selection]
        as_text = json.dumps(finite(rows), indent=2, allow_nan=False) + "\n"
        text = exchange.as_csv(selection.records) if form == "csv" else as_text
        if output is None:
            click.echo(text, nl=False)
            return
        _write(output, text)
    if json_wanted:
        print_json({"trials": len(selection), "output": str(output)})
    else:
        stdout().print(f"Wrote {len(selection)} trials to {output}.", soft_wrap=True)


def _is_agreed(question: str) -> bool:
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        return False


def _optuna(records: Any, output: Path) -> None:
    from tuner.search.optuna.rebuilt import to_file

    try:
        to_file(records, output)
    except OSError as error:
        raise TuneError(f"{output} cannot be written: {error.strerror or error}") from error


def _write(output: Path, text: str) -> None:
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TuneError(f"{output} cannot be written: {error.strerror or error}") from error
