"""The context of a run: the machine, the pipeline and the workload."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from search_space.catalog import all_probes, check_pins
from search_space.errors import TuneError
from search_space.hardware.machine import Machine
from search_space.knob import Context
from search_space.pipeline.spec import PipelineSpec
from search_space.workload import check_workload
from tuner.discovery.models import REFERENCE, resolve
from tuner.discovery.probing import HEAD_SIZE, find_device, probed
from tuner.processes.children import Children
from tuner.processes.task import leave_result
from tuner.records.request import Request, weights_folder


def discover(children: Children, request: Request) -> Context:
    """The machine, the pipeline and the completed workload; raises UsageError."""
    # A slip of the pen is told at once.
    check_pins(request.fix, (*request.include, *request.exclude))
    device, _ = find_device(children, request.device)
    question = {
        "model": request.workload.model,
        "cache_dir": str(request.cache_dir),
        "device": device,
        "lpips": weights_folder(request),
        "allow_pickle": request.allow_pickle,
    }
    facts = children.call("tuner.discovery.context:inspect", question)
    spec = PipelineSpec.from_json(facts["spec"])
    children.preload(spec.classes)
    workload = replace(
        request.workload.filled(own_defaults(request.workload.model)),
        model_fingerprint=spec.fingerprint,
    )
    check_workload(workload, spec)
    machine = Machine.from_json(facts["machine"])
    head_size = max(part.head_size for part in spec.denoisers) or HEAD_SIZE
    probes = probed(children, sorted(all_probes()), machine.device, head_size)
    return Context(
        replace(machine, probes=probes),
        spec,
        workload,
        request.quality,
        request.allow_lossy,
        request.allow_remote_code,
    )


def own_defaults(model: str) -> dict[str, int]:
    """The workload that a reference pipeline was made for; nothing for other models."""
    if not model.startswith(REFERENCE):
        return {}
    from tuner.reference import defaults

    return defaults(model.removeprefix(REFERENCE))


def inspect(folder: Path) -> None:
    """Find the model, read its spec, detect the machine and try the weights for LPIPS."""
    from search_space.hardware.detect import detect
    from search_space.pipeline.spec import read_spec
    from tuner.measuring.fidelity.lpips import read

    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    try:
        allow_pickle = request.get("allow_pickle", False)
        model = resolve(request["model"], Path(request["cache_dir"]), allow_pickle)
        spec = read_spec(model, allow_pickle)
        machine = detect(request["device"])
        if request["lpips"] is not None:
            read(request["lpips"])
        leave_result(folder, {"spec": asdict(spec), "machine": asdict(machine)})
    except TuneError as error:
        leave_result(folder, {"error": type(error).__name__, "message": str(error)})
