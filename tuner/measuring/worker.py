"""The work of a trial's process, from its job to its result."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_space.build import Build
from search_space.construct import construct, no_effect
from search_space.knob import Stage
from search_space.trial import Failure, FailureKind
from search_space.units import format_size
from tuner.measuring.calls import CallSamples
from tuner.measuring.failures import NoEffect, failure_of
from tuner.measuring.interleaving import Interleaved, Turns, turns_at
from tuner.measuring.memory.limits import (
    WITHOUT_LIMIT,
    limit_memory,
)
from tuner.measuring.noise.guard import Guard, trial_conditions
from tuner.measuring.phases import Phases
from tuner.processes.task import leave_result
from tuner.records.job import Job

if TYPE_CHECKING:
    from tuner.measuring.caller import Caller


def try_config(folder: Path) -> None:
    """Measure the config of the job in ``folder``; the outcome is left in ``result.json``."""
    start_s = time.monotonic() - float(os.environ["TUNE_SENT_S"])
    job = Job.from_json(json.loads((folder / "request.json").read_text(encoding="utf-8")))
    phases = Phases(folder, job.device)
    turns = turns_at(job.turns, phases.enter)
    try:
        build = _loaded(job, folder, phases)
        caller = _caller(build, job)
        result = {"measurement": _measure(build, job, phases, turns, caller, start_s)}
    except Exception as error:
        import traceback

        traceback.print_exc()
        leave_result(folder, {"failure": asdict(failure_of(error, phases))})
        return
    leave_result(folder, result)
    if job.stays and isinstance(turns, Interleaved):
        with caller.ready():
            turns.stay(caller.again)


def _measure(
    build: Build, job: Job, phases: Phases, turns: Turns, caller: Caller, start_s: float
) -> dict[str, Any]:
    from search_space.runtimes.calibration import keep_calibration
    from tuner.measuring.calls import image_count

    images = image_count(build.call)
    recorded: dict[str, list[tuple[Any, Any]]] = {}
    samples = _time_calls(build, job, phases, turns, caller, recorded)
    phases.enter("check")
    if job.config.is_baseline:
        keep_calibration(build, recorded)
    fidelity, work = _check(build, job, samples)
    phases.leave()
    phase_seconds = {
        name: (phase_s,) for name, phase_s in phases.seconds.items() if name not in samples.seconds
    }
    return {
        "seconds": {"start": (start_s,), **phase_seconds, **samples.seconds},
        "peaks": [asdict(peak) for peak in phases.peaks],
        "fidelity": fidelity,
        "conditions": [asdict(condition) for condition in samples.conditions],
        "work": work,
        "images": images,
        "turns": samples.turns,
    }


def stop_beyond_budget(job: Job, folder: Path, phases: Phases) -> None:
    """On a device that nothing else limits, end this process once it holds more than the budget."""
    limit_bytes = job.budget.on_device(job.device)
    if limit_bytes is None or job.device not in WITHOUT_LIMIT:
        return

    def stop(held_bytes: int) -> None:
        message = f"it held {format_size(held_bytes)} of the device"
        kind = FailureKind.DEVICE_OUT_OF_MEMORY
        failure = Failure(kind, message, phases.name, peak_bytes=held_bytes)
        leave_result(folder, {"failure": asdict(failure)})
        os._exit(0)

    phases.gauge.stop_beyond(limit_bytes, stop)


def _loaded(job: Job, folder: Path, phases: Phases) -> Build:
    import tempfile

    silence_progress_bars()
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = job.compile_cache or tempfile.mkdtemp(dir=folder)
    phases.enter("load")
    limit_memory(job.budget, job.device, phases.gauge.device, Path(job.folder))
    stop_beyond_budget(job, folder, phases)
    arguments = {**job.workload.call(), "output_type": "np"}
    build = Build(
        job.folder,
        job.device,
        arguments,
        Path(job.cache_dir),
        enter=phases.enter,
        pickled=job.pickled,
    )
    construct(build, job.config, before=_eager_step_first(build))
    build.pipe.set_progress_bar_config(disable=True)
    return build


def _caller(build: Build, job: Job) -> Caller:
    from tuner.measuring.caller import Caller, few_steps

    # A race is of the user's own calls.
    few = None if job.precise else few_steps(build, job.config)
    return Caller(build, job.device, job.workload.seed, few)


def _time_calls(
    build: Build,
    job: Job,
    phases: Phases,
    turns: Turns,
    caller: Caller,
    recorded: dict[str, list[tuple[Any, Any]]],
) -> CallSamples:
    """The samples of the calls; the inputs of the baseline's models are added to ``recorded``."""
    from contextlib import nullcontext

    from tuner.measuring.calls import image_count, measure
    from tuner.measuring.precision import Precision

    counted = job.workload.counted(image_count(build.call))
    precision = Precision(
        job.precise,
        None if job.cap_s is None else job.cap_s * counted,
        None if job.reach_s is None else job.reach_s * counted,
        job.beside_s,
    )
    standing = trial_conditions()
    with caller.ready():
        samples = measure(
            caller.whole,
            phases.enter,
            job.device,
            precision,
            first=build.recorded_inputs(recorded) if job.config.is_baseline else nullcontext(),
            guard=Guard(job.device),
            turns=turns,
            short=None if caller.few is None else caller.short,
        )
    return replace(samples, conditions=(*standing, *samples.conditions))


def _check(
    build: Build, job: Job, samples: CallSamples
) -> tuple[dict[str, float], dict[str, float]]:
    """The fidelity of the output, and the work of a call."""
    from tuner.measuring.fidelity.compare import fidelity_of
    from tuner.measuring.roofline import work_of

    reason = no_effect(build, job.config)
    if reason:
        raise NoEffect(reason)
    fidelity = fidelity_of(build, job, samples.output, can_win=samples.may_win)
    # Once for a workload: by the trial that everything else is compared with.
    work = work_of(build) if job.output is not None and job.config.is_baseline else {}
    return fidelity, work


def silence_progress_bars() -> None:
    """Keep progress bars out of the log, which is to explain a failure."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def _eager_step_first(build: Build) -> Callable[[Stage], None]:
    """Run one denoising step ahead of an engine: the hopelessly slow is seen before compiling."""

    def before(stage: Stage) -> None:
        if stage is Stage.ENGINE:
            build.pipe.set_progress_bar_config(disable=True)
            build.record()
            build.enter("engine")

    return before
