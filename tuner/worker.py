"""What a child process does: prepare a model, or try one config."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from search_space.budget import UNLIMITED, Budget
from search_space.build import Build
from search_space.construct import construct, no_effect
from search_space.errors import TuneError
from search_space.knob import Stage
from search_space.trial import OUT_OF_MEMORY, Failure, FailureKind, Peak
from search_space.workload import Workload
from tuner.memory import Gauge
from tuner.memory_limits import lift_data_limit, limit_memory, near_data_limit

OUT_OF_HOST_MEMORY = ("can't alloc", "Failed to allocate memory", "std::bad_alloc")
OUT_OF_DEVICE_MEMORY = ("MPS backend out of memory", "CUDA out of memory")


@dataclass(frozen=True)
class Job:
    """One trial to run.

    ``reference`` is the file of the output to compare with, ``output`` where to save this trial's
    own to be compared with, ``pictures`` where a few of its images are kept to be seen. A first
    steady call slower than ``cap_s`` seconds is the last. What inductor has compiled is kept in the
    folder ``compile_cache``; without one the first call is a cold one. The ``budget`` is
    enforced.
    """

    workload: Workload
    folder: str
    device: str
    config: Mapping[str, str]
    cache_dir: str
    reference: str | None = None
    output: str | None = None
    cap_s: float | None = None
    compile_cache: str | None = None
    budget: Budget = UNLIMITED
    pictures: str | None = None

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Job:
        """The inverse of ``dataclasses.asdict``."""
        workload = Workload.from_json(facts["workload"])
        return cls(**{**facts, "workload": workload, "budget": Budget.from_json(facts["budget"])})


class Phases:
    """Tells the controller which phase begins, and keeps the seconds and the peaks of each."""

    def __init__(self, folder: Path, device: str) -> None:
        self.seconds: dict[str, float] = {}
        self.name = ""
        self.gauge = Gauge(device)
        self._peaks: dict[tuple[str, str, str], int] = {}
        self._device = device
        self._folder = folder
        self._began_s = 0.0

    def enter(self, name: str) -> None:
        """End the phase before and begin this one."""
        self.leave()
        self.name = name
        with (self._folder / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"phase": name}) + "\n")
        self.gauge.begin(name)
        self._began_s = time.perf_counter()

    def leave(self) -> None:
        """End the phase: its seconds are added up and its peaks are read."""
        from tuner.measure import synchronize

        if not self.name:
            return
        synchronize(self._device)
        spent_s = time.perf_counter() - self._began_s
        self.seconds[self.name] = self.seconds.get(self.name, 0.0) + spent_s
        for peak in self.gauge.end():
            key = (peak.place, peak.phase, peak.source)
            self._peaks[key] = max(peak.peak_bytes, self._peaks.get(key, 0))
        self.name = ""

    @property
    def peaks(self) -> tuple[Peak, ...]:
        """The peak of each phase but the comparison of images, which is ours alone."""
        known = self._peaks.items()
        return tuple(Peak(*key, peak_bytes) for key, peak_bytes in known if key[1] != "check")

    def held_bytes(self, place: str) -> int | None:
        """The most that was held until now, None where it was not read."""
        # A device that has failed may not answer any more.
        with contextlib.suppress(RuntimeError):
            self.leave()
        return max((peak.peak_bytes for peak in self.peaks if peak.place == place), default=None)


def try_config(folder: Path) -> None:
    """Measure the config of the job in ``folder``; the outcome is left in ``result.json``."""
    start_s = time.monotonic() - float(os.environ["TUNE_SENT_S"])
    job = Job.from_json(json.loads((folder / "request.json").read_text(encoding="utf-8")))
    phases = Phases(folder, job.device)
    try:
        result = {"measurement": _measured(job, folder, phases, start_s)}
    except Exception as error:
        import traceback

        traceback.print_exc()
        result = {"failure": asdict(failed(error, phases))}
    leave_result(folder, result)


def failed(error: Exception, phases: Phases) -> Failure:
    """The typed failure of an exception, with what was held if memory ran out.

    Few libraries say so when it does: near the limit, whatever they say is taken to mean it.
    """
    failure = classify(error, phases.name)
    if failure.kind is FailureKind.UNSUPPORTED and near_data_limit():
        failure = replace(failure, kind=FailureKind.HOST_OUT_OF_MEMORY)
    lift_data_limit()
    if failure.kind not in OUT_OF_MEMORY:
        return failure
    place = "host" if failure.kind is FailureKind.HOST_OUT_OF_MEMORY else "device"
    return replace(failure, peak_bytes=phases.held_bytes(place))


class NoEffect(Exception):
    """A choice was applied and did nothing."""


def _measured(job: Job, folder: Path, phases: Phases, start_s: float) -> dict[str, Any]:
    import tempfile
    from contextlib import nullcontext

    from search_space.calibration import keep_calibration
    from tuner.compare import fidelity_of
    from tuner.fidelity import latents_in_float32
    from tuner.limit import work_of
    from tuner.measure import Call, image_count, measure, timed_call
    from tuner.noise import Guard, standing
    from tuner.outputs import latents_kept, made
    from tuner.stages import Stopwatch

    silence_progress_bars()
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = job.compile_cache or tempfile.mkdtemp(dir=folder)
    phases.enter("load")
    limit_memory(job.budget, job.device, phases.gauge.device, Path(job.folder))
    arguments = {**job.workload.call(), "output_type": "np"}
    build = Build(job.folder, job.device, arguments, Path(job.cache_dir), enter=phases.enter)
    pipe = construct(build, job.config, before=_eager_step_first(build))
    pipe.set_progress_bar_config(disable=True)
    # With throughput the steady samples are seconds per image.
    images = image_count(build.call) if job.workload.throughput else 1
    kept: list[tuple[Any, Any]] = []
    stopwatch, conditions = Stopwatch(job.device), standing()
    with latents_in_float32(pipe), latents_kept(build) as latents, stopwatch.on(build):

        def call() -> Call:
            latents.clear()
            return timed_call(pipe, build.call, job.device, job.workload.seed, stopwatch)

        timed = measure(
            call,
            phases.enter,
            job.device,
            None if job.cap_s is None else job.cap_s * images,
            first=build.inputs_kept(kept) if not job.config else nullcontext(),
            guard=Guard(job.device),
        )
    phases.enter("check")
    if not job.config:
        keep_calibration(build, kept)
    seen = no_effect(build, job.config)
    if seen:
        raise NoEffect(seen)
    capped = job.cap_s is not None and timed.seconds["steady"][0] > job.cap_s * images
    fidelity = fidelity_of(build, job, made(timed.output, latents), can_win=not capped)
    # Once for a workload: by the trial that everything else is compared with.
    work = work_of(build, images) if job.output is not None and not job.config else {}
    phases.leave()
    seconds = dict(timed.seconds)
    for kind in ("steady", "disturbed"):
        seconds[kind] = tuple(sample_s / images for sample_s in seconds[kind])
    built = {name: (spent,) for name, spent in phases.seconds.items() if name not in seconds}
    peaks = [asdict(peak) for peak in phases.peaks]
    return {
        "seconds": {"start": (start_s,), **built, **seconds},
        "peaks": peaks,
        "fidelity": fidelity,
        "conditions": [asdict(condition) for condition in (*conditions, *timed.conditions)],
        "work": work,
    }


def silence_progress_bars() -> None:
    """Keep the log for what explains a failure."""
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


def classify(error: Exception, phase: str) -> Failure:
    """The typed failure of an exception that was raised in a phase."""
    import torch

    from tuner.compare import InvalidOutput

    message = f"{type(error).__name__}: {error}".strip()
    kind = FailureKind.UNSUPPORTED
    if isinstance(error, InvalidOutput):
        kind, message = FailureKind.INVALID_OUTPUT, str(error)
    elif isinstance(error, NoEffect):
        message = str(error)
    elif isinstance(error, torch.OutOfMemoryError) or _says(message, OUT_OF_DEVICE_MEMORY):
        kind = FailureKind.DEVICE_OUT_OF_MEMORY
    elif isinstance(error, MemoryError) or _says(message, OUT_OF_HOST_MEMORY):
        kind = FailureKind.HOST_OUT_OF_MEMORY
    return Failure(kind, " ".join(message.split())[:300], phase)


def _says(message: str, phrases: tuple[str, ...]) -> bool:
    return any(phrase in message for phrase in phrases)


def leave_result(folder: Path, result: dict[str, Any]) -> None:
    """Write ``result.json`` whole or not at all."""
    unfinished = folder / "result.part"
    unfinished.write_text(json.dumps(result), encoding="utf-8")
    os.replace(unfinished, folder / "result.json")


def prepare(folder: Path) -> None:
    """Find the model, read its spec and detect the machine."""
    from search_space.detect import detect
    from search_space.pipeline_spec import read_spec
    from tuner.models import resolve

    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    try:
        model = resolve(request["model"], Path(request["cache_dir"]))
        spec = read_spec(model)
        machine = detect(request["device"])
        leave_result(folder, {"spec": asdict(spec), "machine": asdict(machine)})
    except TuneError as error:
        leave_result(folder, {"error": type(error).__name__, "message": str(error)})
