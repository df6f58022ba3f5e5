"""From a graph to a session of ONNX Runtime: exported, quantized, opened, cached by content."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_space.build import Build
from search_space.runtimes.graph import (
    Graph,
    Run,
    answer_by,
    graph_key,
    graphs,
    keep_whole,
    release_weights,
    traceable,
)
from search_space.runtimes.onnx_quantize import onnx_quantized, quantized_operators

DEVICE_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""The execution provider that is made for each kind of device."""

BINDABLE = ("cpu", "cuda")
"""The devices whose memory a session can be given; other tensors take the way over the host."""


@dataclass(frozen=True)
class Runtime:
    """What ONNX Runtime runs a graph by, and what is quantized beforehand.

    Without a ``provider`` it is the one that is made for the device.
    """

    provider: str = ""
    options: tuple[tuple[str, str], ...] = ()
    quantized: str = ""

    def provider_on(self, device: str) -> str:
        """The name of the execution provider on a kind of device."""
        return self.provider or DEVICE_PROVIDERS[device]


ONNXRUNTIME = {
    "onnxruntime": Runtime(),
    "onnxruntime-int8-weights": Runtime(quantized="weights"),
    "onnxruntime-int8-dynamic": Runtime(quantized="dynamic"),
    "onnxruntime-int8": Runtime(quantized="all"),
    "onnxruntime-tensorrt": Runtime("TensorrtExecutionProvider"),
    "onnxruntime-migraphx": Runtime("MIGraphXExecutionProvider"),
    "onnxruntime-openvino": Runtime("OpenVINOExecutionProvider", (("device_type", "CPU"),)),
    "onnxruntime-coreml": Runtime("CoreMLExecutionProvider"),
    "onnxruntime-directml": Runtime("DmlExecutionProvider"),
}


def run_by_onnxruntime(build: Build, part: str, choice: str) -> None:
    """Export what is not in the cache, let go of the weights, and answer by sessions."""
    runtime = ONNXRUNTIME[choice]
    for graph in graphs(build, part):
        path = exported(build, graph)
        if runtime.quantized:
            path = onnx_quantized(build, graph, path, runtime.quantized)
        build.enter("session")
        release_weights(graph.entry)
        build.evidence["weights_released"] = True
        session = opened(path, build.device, runtime)
        name = graph.entry.name
        build.evidence.setdefault("providers", {})[name] = running(session)
        build.evidence.setdefault("quantized", {})[name] = quantized_operators(path)
        answer_by(graph, session_run(session, graph))


def opened(path: Path, device: str, runtime: Runtime) -> Any:
    """A session of the graph; what its provider does not run, that of the device does."""
    import onnxruntime

    provider = runtime.provider_on(device)
    providers: list[Any] = [(provider, dict(runtime.options))]
    spare = DEVICE_PROVIDERS.get(device, DEVICE_PROVIDERS["cpu"])
    providers += [spare] if spare != provider else []
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return onnxruntime.InferenceSession(path, options, providers=providers)


def running(session: Any) -> list[str]:
    """The providers that run nodes; before ONNX Runtime 1.24 the first that was loaded."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return list(session.get_providers()[:1])
    return sorted({part.ep_name for part in session.get_provider_graph_assignment_info()})


def exported(build: Build, graph: Graph) -> Path:
    """The file of the exported graph; made where the cache has none."""
    import onnxscript
    import torch

    key = graph_key(graph, torch.__version__, onnxscript.__version__)
    folder = build.cache_dir / "onnx" / key
    if not folder.exists():
        build.enter("export")
        keep_whole(folder, lambda unfinished: export_onnx(graph, unfinished / "model.onnx"))
    return folder / "model.onnx"


def export_onnx(graph: Graph, path: Path) -> None:
    """Export for the shapes of the example."""
    import torch

    with torch.no_grad():
        torch.onnx.export(
            traceable(graph),
            graph.tensors,
            str(path),
            dynamo=True,
            external_data=True,
            input_names=[f"input_{place}" for place in range(len(graph.tensors))],
            output_names=[f"output_{place}" for place in range(graph.output_count)],
            verbose=False,
        )


def bind(bind_one: Callable[..., None], name: str, tensor: Any) -> None:
    """Give a session the memory of a contiguous tensor as an input or output."""
    import numpy

    dtype = numpy.dtype(str(tensor.dtype).removeprefix("torch."))
    device, index = tensor.device.type, tensor.device.index or 0
    bind_one(name, device, index, dtype, tuple(tensor.shape), tensor.data_ptr())


def session_run(session: Any, graph: Graph) -> Run:
    """Feeds the session by reference; inputs that the graph does not use were dropped from it."""
    import torch

    used = {value.name: int(value.name.removeprefix("input_")) for value in session.get_inputs()}
    expected = [leaf for leaf in graph.outputs if isinstance(leaf, torch.Tensor)]
    names = [value.name for value in session.get_outputs()]

    def run(tensors: Sequence[Any]) -> Sequence[Any]:
        binding = session.io_binding()
        home = tensors[0].device
        device = home if home.type in BINDABLE else torch.device("cpu")
        lent = [tensor.to(device) for tensor in tensors]
        for name, place in used.items():
            bind(binding.bind_input, name, lent[place])
        outputs = [torch.empty(leaf.shape, dtype=leaf.dtype, device=device) for leaf in expected]
        for name, output in zip(names, outputs, strict=True):
            bind(binding.bind_output, name, output)
        session.run_with_iobinding(binding)
        return [output.to(home) for output in outputs]

    return run
