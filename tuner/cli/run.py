"""``tune run``."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from search_space.errors import TuneError
from tuner.cli.options import (
    INTERRUPTED,
    as_json,
    budget_options,
    pin_options,
    quality_options,
    search_options,
    store_option,
    workload_options,
)
from tuner.cli.output import stderr, stdout
from tuner.cli.request import request_of

if TYPE_CHECKING:
    pass


@click.command()
@click.argument("model")
@workload_options
@budget_options
@search_options
@quality_options
@pin_options
@store_option
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the tuned config. [default: tuned/MODEL]",
)
@as_json
def run(model: str, store: str | None, output: Path | None, json_wanted: bool, **asked: Any) -> int:
    """Find the fastest config of MODEL within the memory budget and write its loader.

    MODEL is a Hub id, a diffusers folder or reference:NAME. The same command goes on where an
    earlier one stopped.

    \b
    Example: tune run reference:sd15 --height 256 --width 256 --steps 4 --memory 8GiB
    """
    from storage import Store, default_url
    from tuner.cli.progress import ConsoleProgress
    from tuner.deploy.emit import check_output, default_output
    from tuner.discovery.context import discover
    from tuner.processes.children import Children
    from tuner.records.plan import plan_run
    from tuner.run import Run
    from tuner.runners.local import LocalRunner

    request = request_of(model, **asked)
    output = output or default_output(model)
    check_output(output)
    console = stderr()
    # A polite end from outside is an interrupt: what was measured is kept and emitted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Store(store or default_url()) as ledger, Children() as children:
        with console.status(f"loading {model}"):
            context = discover(children, request)
        at_work = Run(plan_run(context, request))
        plan = at_work.plan
        limits = plan.budget, request.time_limit_s, plan.objective
        with ConsoleProgress(console, request.trials, *limits) as watched:
            at_work.go(ledger, LocalRunner(children), watched)
        return conclude(at_work, output, json_wanted)


def conclude(at_work: Any, output: Path, json_wanted: bool) -> int:
    """Write the tuned config and show it; the exit code."""
    from tuner.deploy.emit import CONTACT_SHEET
    from tuner.report.format import describe
    from tuner.report.result import changes_table, closing_remarks, result_json, result_table

    console = stderr()
    baseline, count = at_work.baseline, len(at_work.trials)
    if at_work.interrupted and not at_work.trials:
        raise KeyboardInterrupt
    try:
        tuned, folder = at_work.emit(output)
    except TuneError:
        if json_wanted:
            click.echo(json.dumps(result_json(None, count, None, baseline), indent=2))
        if not at_work.interrupted:
            raise
        console.print("Interrupted before a config was found: the same command goes on from here.")
        return INTERRUPTED
    if json_wanted:
        click.echo(json.dumps(result_json(tuned, count, str(folder), baseline), indent=2))
    else:
        stdout().print(result_table(baseline, tuned))
        if tuned.changes:
            stdout().print(changes_table(tuned))
    for remark in closing_remarks(tuned):
        console.print(remark, highlight=False)
    stand_in = at_work.reference
    if stand_in is not None:
        likened = f"The baseline did not run: likeness is to trial {stand_in.number}"
        console.print(f"{likened}, {describe(stand_in.config)}.", highlight=False, soft_wrap=True)
    console.print(f"Loader: {folder / 'load.py'}", highlight=False, soft_wrap=True)
    if (folder / CONTACT_SHEET).exists():
        console.print(f"Look at {folder / CONTACT_SHEET}", highlight=False, soft_wrap=True)
    elif tuned.config:
        console.print("No contact sheet: the images of this config were not kept.")
    if at_work.interrupted:
        console.print("Interrupted: the same command goes on from here.")
    return INTERRUPTED if at_work.interrupted else 0
