from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from search_space.hardware.detect import int8_saturates
from search_space.runtimes.onnx_quantize import (
    quantize_onnx_products,
    quantize_onnx_weights,
    quantized_operators,
)

WIDTH = 64
NODES = (
    helper.make_node("Conv", ["input_0", "w0"], ["image"], "conv", pads=[1, 1, 1, 1]),
    helper.make_node("Reshape", ["image", "rows"], ["tokens"], "reshape"),
    helper.make_node("MatMul", ["tokens", "w3"], ["mixed"], "mix"),
    helper.make_node("MatMul", ["mixed", "w1"], ["product"], "linear"),
    helper.make_node("Add", ["product", "bias"], ["keys"], "bias"),
    helper.make_node("Transpose", ["keys"], ["turned"], "turn", perm=[0, 2, 1]),
    helper.make_node("MatMul", ["keys", "turned"], ["scores"], "scores"),
    helper.make_node("MatMul", ["scores", "keys"], ["output_0"], "values"),
    # One row a sample, as timesteps are.
    helper.make_node("Gemm", ["input_1", "w2"], ["output_1"], "time", transB=1),
)
INT8 = ("MatMulNBits", "MatMulInteger", "MatMulIntegerToFloat", "QLinearMatMul", "QLinearConv")
FLOAT = ("MatMul", "FusedMatMul", "Gemm", "Conv")


def quantized_counts(path: Path) -> dict[str, int]:
    graph = onnx.load(path, load_external_data=False).graph
    return dict(Counter(node.op_type for node in graph.node if node.op_type in INT8 + FLOAT))


def answers(path: Path, call: list[torch.Tensor]) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {f"input_{place}": tensor.numpy() for place, tensor in enumerate(call)}
    return np.concatenate([made.ravel() for made in session.run(None, feed)])


@pytest.fixture(scope="module")
def call() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((1, WIDTH, 4, 4), (1, WIDTH))
    return [torch.randn(shape, generator=generator) for shape in shapes]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolution, a linear layer with a bias, an attention and a layer for a timestep."""
    random = np.random.default_rng(0)
    shapes = {"w0": (WIDTH, WIDTH, 3, 3), "w1": (WIDTH, WIDTH), "w2": (WIDTH, WIDTH)}
    shapes["w3"] = (WIDTH, WIDTH)
    weights = {name: random.normal(0, 0.1, shape) for name, shape in shapes.items()}
    weights["bias"] = random.normal(0, 0.1, WIDTH)
    constants = [numpy_helper.from_array(a.astype("float32"), n) for n, a in weights.items()]
    constants.append(numpy_helper.from_array(np.array([1, 16, WIDTH]), "rows"))
    graph = helper.make_graph(
        NODES,
        "denoiser",
        [value("input_0", [1, WIDTH, 4, 4]), value("input_1", [1, WIDTH])],
        [value("output_0", [1, 16, WIDTH]), value("output_1", [1, WIDTH])],
        constants,
    )
    path = tmp_path_factory.mktemp("float") / "model.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, path, save_as_external_data=True, location="model.onnx.data")
    return path


def value(name: str, shape: list[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


@pytest.fixture
def quantize(source: Path, call: list[torch.Tensor], tmp_path: Path) -> Callable[[str, bool], Path]:
    def made(what: str, narrow: bool) -> Path:
        target = tmp_path / f"{what}.onnx"
        if what == "weights":
            quantize_onnx_weights(source, target)
        else:
            calls = [call] if what == "all" else []
            quantize_onnx_products(source, target, calls, narrow)
        return target

    return made


@pytest.mark.parametrize("narrow", [True, False])
@pytest.mark.parametrize(
    ("what", "counts"),
    [
        ("weights", {"MatMulNBits": 3, "MatMul": 2, "Conv": 1}),
        ("dynamic", {"MatMulInteger": 2, "MatMul": 3, "Conv": 1}),
        (
            "all",
            {
                "QLinearConv": 1,
                "QLinearMatMul": 1,
                "MatMulIntegerToFloat": 1,
                "FusedMatMul": 1,
                "MatMul": 1,
                "Gemm": 1,
            },
        ),
    ],
)
def test_products_with_weights_are_quantized_and_those_of_the_attention_are_not(
    what, counts, narrow, quantize, source, call
):
    path = quantize(what, narrow)
    assert quantized_counts(path) == counts
    assert quantized_operators(path) == sum(counts.get(name, 0) for name in INT8)
    if what != "weights" and not narrow and int8_saturates("cpu"):
        pytest.skip("on this CPU sums of 8-bit products saturate")
    exact = answers(source, call)
    error = np.linalg.norm(answers(path, call) - exact) / np.linalg.norm(exact)
    assert 0 < error < 0.05


@pytest.mark.parametrize("what", ["dynamic", "all"])
def test_narrow_weights_keep_to_7_bits(what, quantize):
    def largest(narrow: bool) -> int:
        path = quantize(what, narrow)
        weights = [
            numpy_helper.to_array(one, str(path.parent))
            for one in onnx.load(path).graph.initializer
        ]
        return max(abs(one.astype(int)).max() for one in weights if one.dtype == np.int8)

    assert 32 < largest(narrow=True) <= 64 < largest(narrow=False)


def test_a_graph_that_rounds_and_then_computes_in_float_is_not_quantized(source, tmp_path):
    model = onnx.load(source)
    rounding = [
        helper.make_node("QuantizeLinear", ["input_1", "scale"], ["rounded"]),
        helper.make_node("DequantizeLinear", ["rounded", "scale"], ["widened"]),
    ]
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.1), "scale"))
    model.graph.node[-1].input[0] = "widened"
    nodes = [*model.graph.node[:-1], *rounding, model.graph.node[-1]]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, tmp_path / "model.onnx")
    assert quantized_operators(source) == quantized_operators(tmp_path / "model.onnx") == 0
