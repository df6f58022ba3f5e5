"""What the benchmarks of timing share: one config of one model, to be tried again and again."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from search_space.build import Build
from search_space.config import Config
from search_space.construct import construct
from search_space.trial import Trial
from search_space.workload import Workload
from tuner.discovery.context import discover
from tuner.processes.children import Children
from tuner.records.job import Job
from tuner.records.plan import Request
from tuner.records.request import default_cache_dir
from tuner.runners.base import Deadlines
from tuner.runners.trial_process import run_trial

ROOT = str(Path(__file__).parents[2])


def parser(purpose: str | None) -> argparse.ArgumentParser:
    """The options that name the model, its call and the precision."""
    found = argparse.ArgumentParser(
        description=purpose, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--model", default="reference:sd15")
    found.add_argument("--height", type=int, default=256)
    found.add_argument("--width", type=int, default=256)
    found.add_argument("--steps", type=int, default=4)
    found.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    found.add_argument("--device", default="cpu")
    choose = "a choice of the config beside its precision"
    found.add_argument("--choose", action="append", default=[], metavar="KNOB=CHOICE", help=choose)
    found.add_argument("--cache-dir", type=Path, default=default_cache_dir())
    return found


@contextmanager
def one_config(asked: argparse.Namespace) -> Iterator[tuple[Children, Job]]:
    """Processes for trials, and the job that each of them does."""
    # A child does not search the current folder.
    os.environ["PYTHONPATH"] = os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])
    workload = Workload(asked.model, "", asked.height, asked.width, steps=asked.steps)
    with Children() as children:
        context = discover(children, Request(workload, asked.cache_dir, asked.device))
        config = dict(choice.split("=") for choice in asked.choose)
        if asked.precision != "fp32":
            config["precision"] = asked.precision
        folder, cache = context.spec.folder, str(asked.cache_dir)
        yield (
            children,
            Job(context.workload, folder, asked.device, Config(config), cache, precise=True),
        )


def tried(children: Children, job: Job) -> Trial:
    """One more trial of the job; a failure ends the benchmark."""
    trial = run_trial(children, job, Deadlines(1200.0), lambda phase: None)
    if trial.measurement is None:
        sys.exit(f"the trial failed: {trial.outcome}")
    return trial


def constructed(job: Job) -> tuple[Any, Build]:
    """In a child: the pipeline of the job with its config, and what it was built by."""
    arguments = {**job.workload.call(), "output_type": "np"}
    build = Build(job.folder, job.device, arguments, Path(job.cache_dir))
    pipe = construct(build, job.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe, build


def summary(samples: Sequence[float]) -> dict[str, Any]:
    """Median, extremes and coefficient of variation."""
    varies = stdev(samples) / mean(samples) if len(samples) > 1 else None
    return {
        "count": len(samples),
        "median": round(median(samples), 4),
        "minimum": round(min(samples), 4),
        "maximum": round(max(samples), 4),
        "coefficient_of_variation": None if varies is None else round(varies, 4),
    }


def say(facts: dict[str, Any]) -> None:
    """Print a line of JSON at once."""
    print(json.dumps(facts), flush=True)
