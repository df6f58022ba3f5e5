"""``python -m tests.benchmarks.table STORE OUT``: the trials of a store as a table to be replayed.

Makes OUT or adds to it. A table has one model on one machine with its versions; `tune run
--sampler exhaustive --include KNOB ... --race-rounds 0` measures its configs, and the same command
goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from search_space.catalog import all_knobs
from search_space.config import Config
from search_space.errors import TuneError, UsageError
from search_space.knob import PARTS, Context
from search_space.trial import INCUMBENT, INCUMBENT_KNOWN, Failure, Measurement, Trial
from search_space.workload import Workload
from storage import Store
from storage.rows import StoredTrial
from tests.benchmarks.search.tables import Made, RealTable, read, write
from tuner.discovery.context import discover
from tuner.processes.children import Children
from tuner.records.request import Request, default_cache_dir
from tuner.runners.replay import Recorded

WAIT_POLICY = "OMP_WAIT_POLICY"
"""How threads wait for each other changes every figure, so a table says it: on two cores shared
with others a call of sd15-tiny took 15.7 s, and 0.63 s where it was PASSIVE."""


def table_of(stored: Sequence[StoredTrial], before: RealTable | None) -> RealTable:
    """The table with the trials of one study's space; raises UsageError where they do not fit."""
    searched = [each for each in stored if each.trial.purpose.is_searched]
    if not searched:
        raise UsageError("the store has no trial of a search: run 'tune run' with this store")
    last = searched[-1]
    context = before.context if before else context_of(last)
    choices = before.choices if before else open_choices(last)
    fitting = [
        each.trial
        for each in searched
        if each.same_as(context.machine, context.workload) and open_choices(each) == choices
    ]
    if not fitting:
        raise UsageError(
            "the store has no trial of the table's model, machine, versions and space: "
            "give another OUT"
        )
    new = newer(fitting, before.outcomes if before else {})
    made = before.made if before else ()
    if new:
        today = datetime.now(UTC).date().isoformat()
        made = (*made, Made(command(context, choices), today, len(new)))
    return RealTable(context, choices, {**(before.outcomes if before else {}), **new}, made)


def newer(trials: Iterable[Trial], outcomes: Mapping[Config, Recorded]) -> dict[Config, Recorded]:
    """What trials bring: the latest of a config, but what is known from a quiet machine stands."""
    found: dict[Config, Recorded] = {}
    for trial in trials:
        known = found.get(trial.config) or outcomes.get(trial.config)
        if known is None or known.outcome.disturbed or not trial.outcome.disturbed:
            found[trial.config] = recorded(trial)
    # No two trials cost the same: this one was added before.
    return {
        config: each
        for config, each in found.items()
        if config not in outcomes or outcomes[config].cost_s != each.cost_s
    }


def open_choices(stored: StoredTrial) -> dict[str, list[str]]:
    """The knobs that the study of a trial left open, with their choices."""
    choices = stored.choices or {}
    return {name: list(values) for name, values in choices.items() if len(values) > 1}


def recorded(trial: Trial) -> Recorded:
    """What is kept of a trial: of a failure the first line, without paths of the machine."""
    outcome = trial.outcome
    if isinstance(outcome, Failure):
        line = outcome.message.partition("\n")[0].partition(" Command: ")[0]
        outcome = replace(outcome, message=re.sub(r"(?<![\w.])/\S+", "…", line), log="")
    elif outcome.ratios:
        outcome = alone(outcome)
    return Recorded(outcome, round(trial.cost_s, 3))


def alone(measurement: Measurement) -> Measurement:
    """A measurement beside an incumbent as one without: calls and parts in its known seconds."""
    factor = measurement.call_s / median(measurement.seconds["steady"])
    beside = (INCUMBENT, INCUMBENT_KNOWN)
    seconds = {
        kind: tuple(factor * sample_s for sample_s in samples_s)
        if kind in ("steady", *PARTS)
        else samples_s
        for kind, samples_s in measurement.seconds.items()
        if kind not in beside
    }
    return replace(measurement, seconds=seconds, turns={})


def context_of(stored: StoredTrial) -> Context:
    """The context of a trial of this machine, its model looked at anew."""
    asked = Workload(stored.workload.model)
    request = Request(asked, default_cache_dir(), stored.machine.device)
    with Children() as children:
        context = discover(children, request)
    same = context.machine.fingerprint == stored.machine.fingerprint
    if not same or context.spec.fingerprint != stored.workload.model_fingerprint:
        raise UsageError("the trials are of another machine or model: make the table there")
    # The versions are those of the trials, the rest is what a knob may ask of the machine.
    machine = replace(context.machine, packages=stored.machine.packages)
    quality = stored.trial.budget.quality or context.quality
    return Context(machine, context.spec, stored.workload, quality)


def command(context: Context, choices: Mapping[str, Sequence[str]]) -> str:
    """The command that measures the configs of a table."""
    workload = context.workload
    sizes = {
        "--height": workload.height_px,
        "--width": workload.width_px,
        "--num-frames": workload.num_frames,
        "--steps": workload.steps,
    }
    options = [[name, str(size)] for name, size in sizes.items() if size is not None]
    names = [knob.name for knob in all_knobs() if knob.name in choices]
    options += [["--include", name] for name in names]
    policy = os.environ.get(WAIT_POLICY)
    words = [f"{WAIT_POLICY}={policy}"] if policy else []
    words += ["tune", "run", workload.model, "--sampler", "exhaustive"]
    return shlex.join([*words, *(word for option in options for word in option)])


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.benchmarks.table", description=__doc__)
    parser.add_argument("store")
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", help="of this model alone: reference:sd15-tiny")
    asked = parser.parse_args()
    try:
        with Store(asked.store, read_only=True) as store:
            stored = store.trials(asked.model)
        table = table_of(stored, read(asked.out) if asked.out.exists() else None)
    except TuneError as error:
        raise SystemExit(f"{parser.prog}: {error}") from error
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    write(asked.out, table)
    total = len(table.space.valid)
    print(
        f"{asked.out.name}: {total - table.missing} of {total} configs, {table.disturbed} disturbed"
    )


if __name__ == "__main__":
    main()
