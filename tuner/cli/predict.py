"""``tune predict``."""

from __future__ import annotations

from typing import Any

import click

from tuner.cli.options import (
    as_json,
    budget_options,
    pin_options,
    quality_options,
    store_option,
    workload_options,
)
from tuner.cli.output import print_json, stderr, stdout


@click.command()
@click.argument("model")
@workload_options
@budget_options
@quality_options
@pin_options
@store_option
@as_json
def predict(model: str, store: str | None, json_wanted: bool, **options: Any) -> None:
    """Tell what to expect of MODEL here, without measuring.

    It rests on the trials of other models, sizes and machines in the store, and on a table that
    comes with the package.

    \b
    Example: tune predict reference:sd15-tiny
    """
    from tuner.predict import predict as predicted
    from tuner.report.prediction import prediction_json, prediction_table

    with stderr().status(f"looking at {model}"):
        prediction, known = predicted(model, store=store, **options)
    if json_wanted:
        print_json(prediction_json(prediction, known.studies))
    elif prediction is None:
        stdout().print(f"Nothing is known for {model} here yet: tune run measures it.")
    else:
        stdout().print(prediction_table(prediction, known.describe()))
