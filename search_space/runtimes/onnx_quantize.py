"""Graphs of ONNX Runtime in int8: the weights alone, or the inputs of the products too."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search_space.build import Build
from search_space.hardware.detect import int8_saturates
from search_space.runtimes.calibration import calibration_calls, call_key
from search_space.runtimes.graph import Graph, keep_whole, release_weights

INT8_OPERATORS = (
    "MatMulNBits",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "QLinearMatMul",
    "QLinearConv",
)
"""The operators that compute with weights in int8; what merely rounds is none of them."""

WEIGHTS_BLOCK = 64
"""Weights to a scale: fewer are rounded less and need more scales. The widths of most layers are
multiples of it."""


class Calls:
    """Gives ONNX Runtime the inputs of one call after the other."""

    def __init__(self, calls: Sequence[dict[str, Any]]) -> None:
        self._remaining = iter(calls)

    def get_next(self) -> dict[str, Any] | None:
        """The inputs of the next call by name, None after the last."""
        return next(self._remaining, None)


def onnx_quantized(build: Build, graph: Graph, path: Path, what: str) -> Path:
    """The file of the graph in int8; made where the cache has none."""
    import onnxruntime

    # Products with weights in blocks are exact on every CPU: MLAS sums them up otherwise.
    narrow = what != "weights" and int8_saturates("cpu")
    kind = f"{what}-narrow" if narrow else what
    kind += f"-{call_key(build)}" if what == "all" else ""
    name = f"{path.parent.name}-int8-{kind}-{onnxruntime.__version__}"
    folder = path.parent.with_name(name)
    if folder.exists():
        return folder / path.name
    inputs = calibration_calls(build, graph) if what == "all" else []
    build.enter("quantize")
    release_weights(graph.entry)
    build.evidence["weights_released"] = True

    def quantize(unfinished: Path) -> None:
        # The quantizers write beside what they read.
        source = shutil.copytree(path.parent, unfinished / "float") / path.name
        if what == "weights":
            quantize_onnx_weights(source, unfinished / path.name)
        else:
            quantize_onnx_products(source, unfinished / path.name, inputs, narrow)
        shutil.rmtree(unfinished / "float")

    keep_whole(folder, quantize)
    return folder / path.name


def quantize_onnx_weights(source: Path, target: Path) -> None:
    """Linear layers by weights in int8, whose products are in int8 where the CPU has such."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(
        str(source), bits=8, block_size=WEIGHTS_BLOCK, is_symmetric=True, accuracy_level=4
    )
    quantizer.model.replace_gemm_with_matmul()
    quantizer.process()
    quantizer.model.save_model_to_file(target, use_external_data_format=True)


def quantize_onnx_products(
    source: Path, target: Path, calls: Sequence[Sequence[Any]], narrow: bool
) -> None:
    """Products with constant weights in int8, by ranges seen in ``calls`` or found in each call.

    ``narrow`` weights keep to 7 bits, for CPUs whose products saturate.
    Convolutions are quantized by ranges seen alone: with others they are slower than in fp32. A
    layer that sees one row a sample, exported as Gemm, gains nothing and stays as it is.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic, quantize_static

    graph = onnx.load(source, load_external_data=False).graph
    kinds = ["MatMul", "Conv"] if calls else ["MatMul"]
    settings: dict[str, Any] = {
        "op_types_to_quantize": kinds,
        "nodes_to_quantize": with_constant_weights(graph, kinds),
        "per_channel": True,
        "reduce_range": narrow,
        "weight_type": QuantType.QInt8,
        "use_external_data_format": True,
    }
    if not calls:
        quantize_dynamic(source, target, **settings)
        return
    names = [value.name for value in graph.input]
    feeds = [
        {name: call[int(name.removeprefix("input_"))].numpy() for name in names} for call in calls
    ]
    rounded = source.with_name("rounded.onnx")
    quantize_static(
        source,
        rounded,
        Calls(feeds),
        activation_type=QuantType.QUInt8,
        # The product of a linear layer is summed up in int32 and need not be rounded again.
        extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"]},
        **settings,
    )
    fuse_int8(rounded, target)


def fuse_int8(source: Path, target: Path) -> None:
    """Have ONNX Runtime make operators of int8 out of a graph that rounds before float ones.

    It would first make Gemm of products and biases, which then stay float: that is switched off.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    data = "session.optimized_model_external_initializers_file_name"
    options.add_session_config_entry(data, f"{target.name}.data")
    onnxruntime.InferenceSession(
        source,
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["MatMulAddFusion"],
    )


def with_constant_weights(graph: Any, kinds: Sequence[str]) -> list[str]:
    """The nodes of some kinds that multiply by weights, not by what other nodes make."""
    constants = {tensor.name for tensor in graph.initializer}
    return [
        node.name for node in graph.node if node.op_type in kinds and node.input[1] in constants
    ]


def quantized_operators(path: Path) -> int:
    """How many operators of the graph in a file are quantized."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    return sum(node.op_type in INT8_OPERATORS for node in graph.node)
