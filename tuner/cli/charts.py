"""``tune plot`` and ``tune dashboard``: stored trials to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from search_space.errors import TuneError, UsageError
from tuner.cli.filters import filter_options, selected
from tuner.cli.options import as_json, store_option
from tuner.cli.output import print_json, stderr, stdout


@click.command()
@filter_options
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default="trials.html",
    show_default=True,
    help="The file.",
)
@store_option
@as_json
def plot(output: Path, store: str | None, json_wanted: bool, **filters: Any) -> None:
    """Plot stored trials in one HTML file.

    Pareto front, search, importance and configs. Each model, size and machine has plots of its own.
    Needs the extra plot.

    \b
    Example: tune plot --model reference:sd15-tiny --output trials.html
    """
    from tuner.history.read import History

    records = selected(History(store), **filters).records
    if not records:
        raise UsageError("there are no such trials to plot: list some with 'tune trials'")
    from tuner.report.plots import page
    from tuner.search.optuna.charts import optuna_figures

    groups: dict[tuple[int, int, int], list[Any]] = {}
    for record in records:
        groups.setdefault(record.group, []).append(record)
    with stderr().status("plotting"):
        page([])
        html = page([(group, optuna_figures(group)) for group in groups.values()])
    try:
        output.write_text(html, encoding="utf-8")
    except OSError as error:
        raise TuneError(f"{output} cannot be written: {error.strerror or error}") from error
    if json_wanted:
        print_json({"trials": len(records), "output": str(output)})
    else:
        stdout().print(f"Plotted {len(records)} trials: {output}", soft_wrap=True)


@click.command()
@filter_options
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True)
@store_option
def dashboard(port: int, store: str | None, **filters: Any) -> None:
    """Show stored trials in Optuna's dashboard, until Ctrl-C.

    Only this machine can reach it. It sees a copy in memory: what is done there does not reach the
    store. Needs the extra dashboard.

    \b
    Example: tune dashboard --port 8080
    """
    from tuner.history.read import History

    records = selected(History(store), **filters).records
    from tuner.search.optuna.board import serve

    def ready(address: str) -> None:
        stdout().print(f"{address} shows {len(records)} trials; Ctrl-C ends it")

    serve(records, port, ready)
