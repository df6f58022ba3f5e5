"""Tasks that end the server that has forked their process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.tuner.tasks import NOTHING_ELSE, enter
from tuner.processes.task import leave_result
from tuner.records.job import Job


def dies_with_its_server(folder: Path) -> None:
    """A trial whose server is killed in each of its first tries: as many as the model is called."""
    job = Job.from_json(json.loads((folder / "request.json").read_text()))
    enter(folder, "steady")
    end_server(Path(job.cache_dir) / "tries", int(job.workload.model))
    leave_result(folder, {"measurement": {**NOTHING_ELSE, "seconds": {"steady": [0.1]}}})


def answers_in_the_end(folder: Path) -> None:
    request = json.loads((folder / "request.json").read_text())
    end_server(Path(request["tries"]), request["deaths"])
    leave_result(folder, {"torch": "torch" in sys.modules, "tomllib": "tomllib" in sys.modules})


def end_server(tries: Path, deaths: int) -> None:
    with tries.open("a") as file:
        file.write(f"{os.getpid()} {os.getppid()}\n")
    if len(tries.read_text().splitlines()) <= deaths:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)


def leaves_processes(folder: Path) -> None:
    """Two processes that have left the group of this one, and a file in the temporary folder."""
    grandchildren = [subprocess.Popen(["sleep", "60"], start_new_session=True) for _ in range(2)]
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(b"left")
    seen = " ".join(str(pid) for pid in (os.getpid(), *(each.pid for each in grandchildren)))
    Path(json.loads((folder / "request.json").read_text())["seen"]).write_text(seen + "\n")
    time.sleep(60)


def uses_runtimes(folder: Path) -> None:
    """What engines do first: OpenVINO converts a model, and ONNX Runtime loads one."""
    import nncf
    import onnx
    import onnxruntime
    import openvino
    import torch

    openvino.convert_model(torch.nn.Linear(2, 2), example_input=torch.ones(1, 2))
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([node], "small", [value], [result])
    model = onnx.helper.make_model(
        graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 17)]
    )
    onnxruntime.InferenceSession(model.SerializeToString())
    with tempfile.NamedTemporaryFile(delete=False) as file:
        seen = {"tells": type(nncf.telemetry.telemetry).__name__, "temporary": file.name}
    leave_result(folder, seen)
