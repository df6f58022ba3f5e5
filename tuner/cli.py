"""The commands: what they read, do and print."""

from __future__ import annotations

import json
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from search_space.budget import Budget
from search_space.errors import TuneError, UsageError
from search_space.knob import Tier
from search_space.workload import PROMPT, Workload
from tuner import __version__
from tuner.options import (
    INTERRUPTED,
    OneLineErrors,
    as_json,
    budget_options,
    pin_options,
    quality_options,
    search_options,
    store_option,
    workload_options,
)

if TYPE_CHECKING:
    from rich.console import Console

    from tuner.records.plan import Request


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tune")
def main() -> None:
    """Measure which optimizations make a diffusers pipeline fastest on this machine.

    \b
    Example: tune run reference:sd15-tiny --memory 4GiB
    """


@main.command()
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
    from tuner.console import ConsoleProgress
    from tuner.discovery.context import discover
    from tuner.emit import check_output, default_output
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


def request_of(model: str, **asked: Any) -> Request:
    """The request that the options of ``run`` and ``knobs`` spell out."""
    from search_space.space import check_agreement
    from tuner.discovery.models import check_name
    from tuner.race.race import MINIMUM_ROUNDS
    from tuner.records.plan import Request, objective_of

    # Before anything is started: a slip of the pen shall not cost the seconds of an import.
    check_name(model)
    check_agreement(asked["fix"], asked.get("include", ()), asked.get("exclude", ()))
    rounds = asked.get("race_rounds", MINIMUM_ROUNDS)
    if 0 < rounds < MINIMUM_ROUNDS:
        raise UsageError(f"one round has no spread: give --race-rounds 0 or {MINIMUM_ROUNDS}")
    asked["objective"] = objective_of(asked["objective"], asked.pop("images"), asked["batch_size"])
    asked["ablation"] = not asked.pop("no_ablation", False)
    workload = Workload(
        model=model,
        height_px=asked.pop("height"),
        width_px=asked.pop("width"),
        num_frames=asked.pop("num_frames"),
        steps=asked.pop("steps"),
        batch_size=asked.pop("batch_size"),
        throughput=asked["objective"].name == "throughput",
        guidance_scale=asked.pop("guidance_scale"),
        prompts=asked.pop("prompts") or (PROMPT,),
        seed=asked.pop("seed"),
    )
    cache_dir = asked.pop("cache_dir") or default_cache_dir()
    asked["quality"] = Tier(asked["quality"])
    asked["budget"] = Budget(asked.pop("memory_bytes", None), asked.pop("host_bytes", None))
    return Request(workload, cache_dir, **{**asked, "fix": dict(asked["fix"])})


def default_cache_dir() -> Path:
    """The user's cache folder of this project."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("diffusers-autotune"))


def conclude(at_work: Any, output: Path, json_wanted: bool) -> int:
    """Write the tuned config and show it; the exit code."""
    from tuner.emit import CONTACT_SHEET
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


@main.command()
@click.argument("model")
@workload_options
@quality_options
@as_json
def knobs(model: str, json_wanted: bool, **asked: Any) -> None:
    """List every knob and choice for MODEL: available here, or why not.

    \b
    Example: tune knobs reference:sd15-tiny
    """
    from search_space.space import Space
    from tuner.discovery.context import discover
    from tuner.processes.children import Children
    from tuner.report.knobs import knobs_json, knobs_table

    images = 1 if asked["objective"] == "session" else None
    request = request_of(model, **asked, images=images, fix=())
    with Children() as children, stderr().status(f"loading {model}"):
        space = Space(discover(children, request))
    if json_wanted:
        click.echo(json.dumps(knobs_json(space), indent=2))
    else:
        stdout().print(knobs_table(space))


@main.command()
@click.option("--device", help="cpu, cuda, mps, xpu or hpu. [default: the best that is there]")
@as_json
def machine(device: str | None, json_wanted: bool) -> None:
    """Show what was found on this machine, and what was not and why.

    \b
    Example: tune machine
    """
    from tuner.discovery.probing import look_around
    from tuner.processes.children import Children
    from tuner.report.machine import machine_json, machine_text

    with Children() as children, stderr().status("looking around"):
        found, absent = look_around(children, device)
    if json_wanted:
        click.echo(json.dumps(machine_json(found, absent), indent=2))
    else:
        stdout().print(machine_text(found, absent), highlight=False, markup=False)


@main.command()
@click.option("--model", help="Only trials of this model.")
@store_option
@as_json
def trials(model: str | None, store: str | None, json_wanted: bool) -> None:
    """List the stored trials.

    \b
    Example: tune trials --json | jq '.[] | select(.state == "failed")'
    """
    from tuner.history.read import of_model
    from tuner.report.trials import trial_json, trials_table

    found = [stored.trial for stored in of_model(model, store, partial(click.echo, err=True))]
    if json_wanted:
        click.echo(json.dumps([trial_json(trial) for trial in found], indent=2))
    else:
        stdout().print(trials_table(found))


@main.command()
@click.argument("trial", type=int)
@store_option
@as_json
def show(trial: int, store: str | None, json_wanted: bool) -> None:
    """Show all that is kept of one TRIAL: every sample, the peaks, the log of a failure.

    \b
    Example: tune show 3
    """
    from tuner.history.read import history
    from tuner.report.trial import stored_json, stored_text

    stored = history(store).trial(trial)
    if json_wanted:
        click.echo(json.dumps(stored_json(stored), indent=2))
    else:
        stdout().print(stored_text(stored), highlight=False, markup=False)


@main.command()
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

    found = winners(of_model(model, store, partial(click.echo, err=True)))
    if json_wanted:
        click.echo(json.dumps([best_json(winner) for winner in found], indent=2))
    else:
        stdout().print(best_table(found))


def stdout() -> Console:
    """Where data goes: as wide as it needs when it is not a terminal."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=200)


def stderr() -> Console:
    """Where progress and notes go."""
    from rich.console import Console

    return Console(stderr=True)
