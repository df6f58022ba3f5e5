"""From a graph to a model that OpenVINO runs: converted, quantized, compiled, cached by content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_space.build import Build
from search_space.hardware.detect import int8_saturates
from search_space.runtimes.calibration import calibration_calls, call_key
from search_space.runtimes.graph import (
    Graph,
    Run,
    answer_by,
    graph_key,
    graphs,
    keep_whole,
    release_weights,
    tensor_positions,
    traceable,
)


@dataclass(frozen=True)
class Mode:
    """Where OpenVINO runs a model, in which precision, and what is quantized beforehand.

    What is not quantized is computed in bf16 where the device has it and the precision is open.
    """

    device: str
    precision: str
    quantized: str = ""


OPENVINO = {
    "openvino": Mode("CPU", "f32"),
    "openvino-bf16": Mode("CPU", "bf16"),
    "openvino-gpu": Mode("GPU", "f16"),
    "openvino-npu": Mode("NPU", "f16"),
    "openvino-int8-weights": Mode("CPU", "", quantized="weights"),
    "openvino-int8": Mode("CPU", "", quantized="all"),
}


def run_by_openvino(build: Build, part: str, choice: str) -> None:
    """Convert what is not in the cache, let go of the weights, and answer by compiled models."""
    import openvino

    mode = OPENVINO[choice]
    core = openvino.Core()
    for graph in graphs(build, part):
        path = converted(build, graph)
        if mode.quantized:
            path = quantized(build, graph, path, mode.quantized)
        build.enter("session")
        release_weights(graph.entry)
        build.evidence["weights_released"] = True
        inferred = inference_precision(core, mode)
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": inferred}
        model = with_exact_angles(core.read_model(path))
        compiled = core.compile_model(model, mode.device, hints)
        build.evidence.setdefault("openvino", {})[graph.entry.name] = properties_of_model(compiled)
        answer_by(graph, compiled_run(compiled, graph))


def with_exact_angles(model: Any) -> Any:
    """The model with the arguments of its sines among its outputs: what is put out stays in fp32.

    A timestep of 999 radians, rounded to bf16, is off by whole radians.
    """
    sines = [node for node in model.get_ordered_ops() if node.get_type_name() in ("Sin", "Cos")]
    angles = {str(node.input_value(0)): node.input_value(0) for node in sines}
    if angles:
        model.add_outputs(list(angles.values()))
    return model


def inference_precision(core: Any, mode: Mode) -> str:
    """The precision of the mode, or the narrowest that the device computes in where it is open."""
    narrow = "BF16" in core.get_property(mode.device, "OPTIMIZATION_CAPABILITIES")
    return mode.precision or ("bf16" if narrow else "f32")


def properties_of_model(compiled: Any) -> dict[str, Any]:
    """The device and precision of a compiled model, and how much of it runs in int8."""
    devices = compiled.get_property("EXECUTION_DEVICES")
    narrow = [
        node
        for node in compiled.get_runtime_model().get_ordered_ops()
        if node.get_rt_info()["runtimePrecision"].astype(str) in ("i8", "u8")
    ]
    return {
        "device": ",".join(devices),
        "precision": compiled.get_property("INFERENCE_PRECISION_HINT").to_string(),
        "int8": len(narrow),
    }


def converted(build: Build, graph: Graph) -> Path:
    """The file of the converted model; made where the cache has none."""
    import openvino
    import torch

    key = graph_key(graph, torch.__version__, openvino.__version__)
    folder = build.cache_dir / "openvino" / key
    if not folder.exists():
        build.enter("export")
        keep(folder, conversion(graph))
    return folder / "model.xml"


def conversion(graph: Graph) -> Any:
    """OpenVINO's model of the graph, for the shapes of its example, inputs named by their place."""
    import openvino
    import torch

    module, shapes = traceable(graph), [list(tensor.shape) for tensor in graph.tensors]
    with torch.no_grad():
        try:
            model = openvino.convert_model(module, example_input=graph.tensors, input=shapes)
        except openvino.frontend.OpConversionFailure:
            # A trace keeps the None of a cache that is filled later; an exported program does not.
            model = openvino.convert_model(torch.export.export(module, graph.tensors))
            model.reshape(dict(enumerate(shapes)))
    for place, port in enumerate(model.inputs):
        port.get_node().set_friendly_name(f"input_{place}")
    return model


def places(model: Any) -> list[int]:
    """Which of the graph's tensors each input of the model takes."""
    names = [port.get_node().friendly_name for port in model.inputs]
    return [int(name.removeprefix("input_")) for name in names]


def quantized(build: Build, graph: Graph, path: Path, what: str) -> Path:
    """The file of the model in int8, its weights alone or the activations too."""
    import nncf
    import openvino

    # Weights alone are widened before they are multiplied.
    narrow = what == "all" and int8_saturates("cpu")
    kind = f"{what}-narrow" if narrow else what
    kind += f"-{call_key(build)}" if what == "all" else ""
    folder = path.parent.with_name(f"{path.parent.name}-int8-{kind}")
    if folder.exists():
        return folder / "model.xml"
    inputs = calibration_calls(build, graph) if what == "all" else []
    build.enter("quantize")
    model = openvino.Core().read_model(path)
    if what == "weights":
        model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
    else:
        arrays = [[call[place].numpy() for place in places(model)] for call in inputs]
        model = openvino_int8(model, arrays, narrow)
    keep(folder, model)
    return folder / "model.xml"


def openvino_int8(model: Any, calls: Sequence[Sequence[Any]], narrow: bool) -> Any:
    """The model with its products in int8, by ranges seen in ``calls``.

    ``narrow`` weights keep to 7 bits, for CPUs whose products saturate. Otherwise NNCF leaves it at
    those of the first convolutions.
    """
    import nncf

    fix = nncf.OverflowFix.ENABLE if narrow else nncf.OverflowFix.FIRST_LAYER
    return nncf.quantize(
        model,
        nncf.Dataset(calls),
        subset_size=len(calls),
        model_type=nncf.ModelType.TRANSFORMER,
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=fix),
    )


def keep(folder: Path, model: Any) -> None:
    """Save a model in a folder of the cache."""
    import openvino

    def save(unfinished: Path) -> None:
        openvino.save_model(model, unfinished / "model.xml", compress_to_fp16=False)

    keep_whole(folder, save)


def compiled_run(compiled: Any, graph: Graph) -> Run:
    """Feeds the compiled model by reference and copies what it gives."""
    import openvino
    import torch

    request = compiled.create_infer_request()
    used = places(compiled)
    output_tensors = [graph.outputs[place] for place in tensor_positions(graph.outputs)]

    def run(tensors: Sequence[Any]) -> Sequence[Any]:
        for position, place in enumerate(used):
            array = tensors[place].numpy()
            request.set_input_tensor(position, openvino.Tensor(array, shared_memory=True))
        request.infer()
        arrays = [request.get_output_tensor(place).data for place in range(len(output_tensors))]
        return [torch.from_numpy(array.copy()) for array in arrays]

    return run
