"""How each kind of item is measured. What a task writes is kept at once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import geometric_mean

import tuner
from search_space.config import Config
from search_space.trial import Failure, FailureKind, Measurement, Trial
from tests.benchmarks import hand_timing, memory_truth, repeatability
from tests.benchmarks.loop_by_hand import call_words
from tests.gpu.items import Item
from tests.gpu.lab import Lab, Setting, refusal, stand_in
from tests.gpu.models import MODELS
from tests.gpu.rows import Row
from tuner.records.figures import Figures
from tuner.records.progress import Progress
from tuner.result import Result

Write = Callable[[Row], None]
Task = Callable[[Lab, Item, float, Write], None]

TRIALS = 6
SEARCHED = 0.45
"""The share of a run's seconds after which its search ends: the race takes as long again."""

QUICK = ("precision", "memory_format", "fused_projections", "attention_slicing")
"""The knobs of a run that is dry: on a CPU engines are exported and compiled for minutes."""

NEIGHBOUR_S = 120.0
"""Longer than a trial, after which it is killed; it ends by itself should nobody do that."""


class Unavailable(Exception):
    """What the device, the pipeline or the rules stand in the way of; told in a sentence."""


def told(config: Mapping[str, str], outcome: Measurement | Failure) -> Row:
    """A trial in the figures of the table."""
    facts: Row = {"config": dict(config)}
    if isinstance(outcome, Failure):
        if outcome.kind is FailureKind.TIMEOUT:
            return {**facts, "stopped": outcome.message}
        return {**facts, "failure": f"{outcome.kind.value}: {outcome.message}"}
    return facts | {
        "steady_s": [round(sample_s, 5) for sample_s in outcome.seconds["steady"]],
        "first_call_s": round(outcome.seconds["first_call"][0], 3),
        "device_bytes": outcome.peak_bytes,
        "host_bytes": outcome.host_peak_bytes,
        "psnr_db": None if outcome.psnr_db is None else round(outcome.psnr_db, 2),
        "disturbed": outcome.disturbed,
        "unstable": outcome.unstable,
    }


class Rows(Progress):
    """Writes each trial of a run as it is done."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def finished(self, trial: Trial) -> None:
        facts = {"purpose": trial.purpose.value, "round": trial.round}
        self._write({**told(trial.config, trial.outcome), **facts, "cost_s": trial.cost_s})


def tune(lab: Lab, item: Item, cap_s: float, write: Write) -> None:
    """A whole run: search, race and what is written for an application."""
    workload = MODELS[item.model].workload(lab.cache, lab.dry)
    store = lab.scratch if lab.dry else lab.cache / "gpu"
    store.mkdir(parents=True, exist_ok=True)
    began_s = time.monotonic()
    result = tuner.tune(
        workload.model,
        height=workload.height_px,
        width=workload.width_px,
        steps=workload.steps,
        device=lab.device,
        cache_dir=lab.cache,
        store=str(store / "history.db"),
        output=tuned_folder(lab, item),
        trials=TRIALS,
        time_limit=SEARCHED * cap_s,
        trial_timeout=cap_s if lab.dry else cap_s / 3,
        ablation=False,
        include=QUICK if lab.dry else (),
        progress=Rows(write),
    )
    if result.interrupted and time.monotonic() - began_s < cap_s:
        # It was not the time: a run takes the user's interrupt for its own.
        raise KeyboardInterrupt
    row: Row = {"item": item.name, "result": summary(result)}
    if result.interrupted:
        row["stopped"] = "its time was up: this is what was found until then"
    write(row)


def summary(result: Result) -> Row:
    """What a run has found."""
    return {
        "winner": result.tuned.config.changes,
        "reason": result.reason,
        "speedup": result.speedup,
        "interval": result.speedup_interval,
        "default": shown(result.baseline),
        "tuned": shown(result.best),
        "trials": len(result.trials),
        "raced": len(result.raced),
        "ending": result.ending.value,
    }


def shown(figures: Figures | None) -> Row | None:
    """What a row keeps of the figures of a config."""
    if figures is None:
        return None
    names = ("latency_s", "peak_bytes", "host_peak_bytes", "psnr_db", "disturbed", "unstable")
    return {name: getattr(figures, name) for name in names}


def tuned_folder(lab: Lab, item: Item) -> Path:
    """Where a run of the model leaves its config."""
    return lab.scratch / f"tuned-{item.model}"


LOAD = """
import json, runpy, sys, time
from pathlib import Path
import tuner
from tuner.records.tuned import TunedConfig
folder = Path(sys.argv[2])
runpy.run_path(str(folder / "load.py"), run_name="__main__")
began_s = time.perf_counter()
pipe = tuner.load(folder)
loaded_s = time.perf_counter() - began_s
pipe(**TunedConfig.read(folder).workload.call())
called_s = time.perf_counter() - began_s - loaded_s
print(json.dumps({"load_s": round(loaded_s, 3), "first_call_s": round(called_s, 3)}))
"""


def load(lab: Lab, item: Item, cap_s: float, write: Write) -> None:
    """What a run has left behind, used in both ways: its script, and `tuner.load`."""
    folder = tuned_folder(lab, item)
    if not (folder / "config.json").exists():
        raise Unavailable(f"no run of {item.model} has left a config in this session")
    # Its script takes the name of the file to write from the same place.
    image = lab.scratch / f"{item.model}.png"
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD, str(image), str(folder)],
        capture_output=True,
        text=True,
        timeout=cap_s,
    )
    if ended.returncode:
        raise RuntimeError((ended.stderr.strip().splitlines() or ["no word"])[-1])
    loaded = json.loads(ended.stdout.splitlines()[-1])
    write({"item": item.name, "image_bytes": image.stat().st_size, **loaded})


def default(lab: Lab, item: Item, cap_s: float, write: Write) -> None:
    """The pipeline as diffusers makes it; its images are what others are compared with."""
    setting, meant = lab.setting(item.model), lab.meant(item.model)
    reasons: dict[str, list[str]] = {}
    for knob in meant.knobs:
        for value in knob.values[1:]:
            if reason := meant.reason(knob, value):
                reasons.setdefault(reason, []).append(f"{knob.name}={value}")
    write({"not_available": reasons})
    job = replace(setting.job, output=str(setting.reference))
    write({"item": item.name, **told({}, lab.run(job, cap_s).outcome)})


def trial(lab: Lab, item: Item, cap_s: float, write: Write) -> None:
    """A config, beside the default of this session."""
    setting, config, note = config_here(lab, item)
    if not setting.reference.exists():
        raise Unavailable(f"the default of {item.model} did not run in this session")
    compiled = lab.cache / "gpu-compiled" / f"{item.model}-{Config(config).key}"
    note |= {"warm_cache": True} if compiled.exists() else {}
    outcome = lab.run(setting.job_of(config, compiled), cap_s).outcome
    write({"item": item.name, **told(config, outcome), **note})


def config_here(lab: Lab, item: Item) -> tuple[Setting, dict[str, str], Row]:
    """The config as it can run, and what of it cannot where a run is dry; raises Unavailable."""
    setting = lab.setting(item.model)
    if reason := refusal(lab.meant(item.model), item.config):
        raise Unavailable(reason)
    if not lab.dry:
        return setting, dict(item.config), {}
    held = stand_in(setting.space, item.config)
    if MODELS[item.model].recipe is None:
        # A UNet is compiled for minutes on a CPU, few blocks of a transformer are not.
        held = {name: value for name, value in held.items() if "engine" not in name}
    left_out = [f"{name}={value}" for name, value in item.config.items() if name not in held]
    return setting, held, {"left_out": left_out} if left_out else {}


def repeat(lab: Lab, item: Item, cap_s: float, write: Write) -> None:
    """One of several trials of the same config: how far do they lie apart?"""
    setting, config, note = config_here(lab, item)
    outcome = lab.run(setting.job_of(config), cap_s)
    write({"item": item.name, **again(config, outcome), **note})


def again(config: Mapping[str, str], measured: Trial) -> Row:
    """What a trial of a config tells that is measured again and again."""
    if measured.measurement is None:
        return told(config, measured.outcome)
    return {"config": dict(config), "again": repeatability.told(measured)}


def neighbour(lab: Lab, item: Item, cap_s: float, write: Write) -> None:
    """A trial beside a process that keeps the device busy: is it flagged?"""
    setting, config, note = config_here(lab, item)
    with repeatability.neighbour(lab.device, NEIGHBOUR_S):
        outcome = lab.run(setting.job_of(config), cap_s)
    write({"item": item.name, **again(config, outcome), **note})


def memory(lab: Lab, item: Item, cap_s: float, write: Write) -> None:
    """The peak of a trial beside another account: NVML's, or the kernel's where a run is dry."""
    if sys.platform != "linux" or not (lab.dry or lab.kind == "cuda"):
        raise Unavailable(f"no account of {lab.kind} but the one that is used is known here")
    setting, config, note = config_here(lab, item)
    place = "host" if lab.device == "cpu" else "device"
    kept = lab.scratch / "observed.txt"
    measured, seen = memory_truth.watched(lab.children, setting.job_of(config), kept, cap_s)
    if measured.measurement is None:
        return write({"item": item.name, **told(config, measured.outcome), **note})
    peaks = [peak for peak in measured.measurement.peaks if peak.place == place]
    phases = {peak.phase: [peak.peak_bytes, seen.get(peak.phase, 0)] for peak in peaks}
    source = peaks[0].source
    write({"item": item.name, "config": config, "phases": phases, "source": source, **note})


def loop(lab: Lab, item: Item, cap_s: float, write: Write) -> None:
    """A trial and a loop as one writes it by hand, call by call."""
    setting, config, note = config_here(lab, item)
    job = setting.job_of(config)
    found = hand_timing.measured_round(lab.children, job, call_words(job), lab.scratch)
    ratios = [round(ratio, 4) for ratio in found.ratios]
    mean = round(geometric_mean(found.ratios), 4)
    facts = {"config": config, "ratios": ratios, "mean": mean, "by_hand_s": found.by_hand_s}
    write({"item": item.name, **facts, **note})


TASKS: dict[str, Task] = {
    function.__name__: function
    for function in (tune, load, default, trial, memory, loop, repeat, neighbour)
}
