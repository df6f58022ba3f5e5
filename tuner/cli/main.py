"""``tune``: its commands, and the one line that an error becomes."""

from __future__ import annotations

import click

from tuner.cli.charts import dashboard, plot
from tuner.cli.doctor import doctor
from tuner.cli.history import best, compare, pareto, show, studies, trials
from tuner.cli.knobs import knobs
from tuner.cli.ledger import delete, export, merge
from tuner.cli.machine import machine
from tuner.cli.options import OneLineErrors
from tuner.cli.predict import predict
from tuner.cli.run import run
from tuner.version import __version__


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tune")
def main() -> None:
    """Measure which optimizations make a diffusers pipeline fastest on this machine.

    \b
    Example: tune run reference:sd15-tiny --memory 4GiB
    """


for command in (
    *(run, predict, knobs, machine),
    *(studies, trials, show, compare, best, pareto),
    *(plot, dashboard, export, merge, delete, doctor),
):
    # Also where it is looked at by itself: a command remembers its help option.
    command.context_settings.update(main.context_settings)
    main.add_command(command)
