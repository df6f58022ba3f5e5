"""``tune run``."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from search_space.errors import TuneError
from tuner.cli.options import (
    INTERRUPTED,
    as_json,
    budget_options,
    fail,
    pin_options,
    quality_options,
    search_options,
    store_option,
    workload_options,
)
from tuner.cli.output import print_json, stderr, stdout


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
    help="Folder for the tuned config. [default: tuned/MODEL/SIZE-DEVICE]",
)
@click.option("--explain", is_flag=True, help="Say why each config is tried.")
@as_json
def run(model: str, json_wanted: bool, explain: bool, **options: Any) -> int:
    """Find the fastest config of MODEL and write its loader.

    MODEL is a Hub id, a diffusers folder or reference:NAME. The same command goes on where an
    earlier one stopped.

    \b
    Example: tune run reference:sd15 --height 256 --width 256 --memory 8GiB
    """
    from tuner.report.progress import ConsoleProgress
    from tuner.report.result import result_json, unfinished_json
    from tuner.run import NothingFound, NotWritten, tune

    # A polite end from outside is an interrupt: what was measured is kept and emitted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ConsoleProgress(stderr(), explain) as progress:
            result = tune(model, progress=progress, **options)
    except NothingFound as error:
        if error.run.interrupted and not error.run.trials:
            raise KeyboardInterrupt from error
        if json_wanted:
            print_json(unfinished_json(error.run.trials))
        if error.run.store_error is not None:
            fail(str(error.run.store_error), TuneError.exit_code)
        if not error.run.interrupted:
            raise
        stderr().print(f"{str(error)[0].upper()}{str(error)[1:]}.", soft_wrap=True)
        return INTERRUPTED
    except NotWritten as error:
        if json_wanted:
            print_json({**result_json(error.result), "output": None})
        raise
    if json_wanted:
        print_json(result_json(result))
    conclude(result, json_wanted, options["trials"])
    if result.store_error is not None:
        fail(result.store_error, TuneError.exit_code)
    return INTERRUPTED if result.interrupted else 0


def conclude(result: Any, json_wanted: bool, trials: int) -> None:
    """Show the result: tables to stdout, what ended the run and what comes next to stderr."""
    from tuner.report.ending import disturbance, ending_lines, next_lines
    from tuner.report.format import wrapped
    from tuner.report.result import changes_table, closing_remarks, result_table

    console = stderr()

    def tell(sentences: Iterable[str]) -> None:
        for sentence in sentences:
            for line in wrapped(sentence, console.width):
                console.print(line, highlight=False, markup=False)

    tell(ending_lines(result, trials))
    if not json_wanted:
        stdout().print(result_table(result))
        if result.tuned.changes:
            stdout().print(changes_table(result.tuned))
    rough = disturbance([*result.trials, *result.raced])
    tell([*closing_remarks(result.tuned), *([rough] if rough else [])])
    for line in next_lines(result):
        # A command is copied whole.
        console.print(line, highlight=False, markup=False, soft_wrap=True)
