"""``tune doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuner.cli.options import as_json, store_option
from tuner.cli.output import print_json, stderr, stdout

if TYPE_CHECKING:
    from tuner.report.doctor import StoreState

MODEL = "reference:sd15-tiny"


@click.command()
@click.argument("model", default=MODEL)
@click.option("--device", help="cpu, cuda, mps, xpu or hpu. [default: the best that is there]")
@click.option(
    "--cache-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="For reference pipelines. [default: your cache folder]",
)
@store_option
@as_json
def doctor(
    model: str, device: str | None, cache_dir: Path | None, store: str | None, json_wanted: bool
) -> int:
    """Check store, machine and packages.

    Tells what would unlock more choices for MODEL, with the command. Ends with 1 where the store
    cannot be used. Without MODEL it looks at a small pipeline of the layout of Stable Diffusion
    1.5.

    \b
    Example: tune doctor reference:sd15-tiny
    """
    from tuner.discovery.context import discover
    from tuner.discovery.models import check_name
    from tuner.discovery.unlocking import unlocking
    from tuner.processes.children import Children
    from tuner.records.request import request_of
    from tuner.report.doctor import doctor_json, doctor_text

    check_name(model)
    state, is_broken = store_state(store)
    with Children() as children, stderr().status(f"loading {model}"):
        context = discover(children, request_of(model, device=device, cache_dir=cache_dir))
    waiting = unlocking(context)
    if json_wanted:
        print_json(doctor_json(state, context.machine, model, waiting))
    else:
        stdout().print(doctor_text(state, context.machine, model, waiting))
    return 1 if is_broken else 0


def store_state(store: str | None) -> tuple[StoreState, bool]:
    """What there is to say about the store, and whether it cannot be used."""
    from search_space.errors import NoStoreError, StoreError
    from storage import default_url
    from tuner.history.read import History
    from tuner.report.doctor import StoreState

    place = store or default_url()
    try:
        history = History(store)
        return StoreState(history.place, studies=tuple(history.studies())), False
    except NoStoreError:
        return StoreState(place, "none yet: 'tune run' makes it"), False
    except StoreError as error:
        return StoreState(place, str(error)), "older version" not in str(error)
