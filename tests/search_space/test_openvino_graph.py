from __future__ import annotations

import numpy as np
import pytest
import torch

from search_space.hardware.detect import int8_saturates
from search_space.knobs.engine_compile_openvino import with_outputs_of_its_own
from search_space.runtimes.openvino import openvino_int8, with_exact_angles

F32 = {"INFERENCE_PRECISION_HINT": "f32"}


def embedded(precision: str, exact: bool) -> np.ndarray:
    """A layer of the sines of a timestep, as OpenVINO computes it."""
    openvino = pytest.importorskip("openvino")
    from openvino import opset13 as ops

    core = openvino.Core()
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bf16")
    timestep = ops.parameter([2, 1], np.float32, name="input_0")
    frequencies = np.exp(-np.linspace(0, 9, 128, dtype=np.float32))[None]
    sines = ops.sin(ops.multiply(timestep, ops.constant(frequencies)))
    weights = np.random.default_rng(0).normal(size=(128, 64)).astype(np.float32)
    made = ops.matmul(sines, ops.constant(weights), False, False)
    model = openvino.Model([made], [timestep])
    model = with_exact_angles(model) if exact else model
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    return compiled([np.array([[999.0], [751.3]], dtype=np.float32)])[0].copy()


def test_a_timestep_is_not_rounded_to_bf16():
    expected = embedded("f32", exact=False)

    def error(exact: bool) -> float:
        made = embedded("bf16", exact)
        return float(np.linalg.norm(made - expected) / np.linalg.norm(expected))

    assert error(exact=True) < 0.02
    assert error(exact=False) > 0.1


def test_what_the_next_call_writes_over_was_copied_before():
    buffer = torch.zeros(2)

    def compiled(value: float) -> tuple[torch.Tensor, str]:
        buffer.fill_(value)
        return buffer, "kept"

    call = with_outputs_of_its_own(compiled)
    first, second = call(1.0), call(2.0)
    assert (first[0].tolist(), second[0].tolist()) == ([1.0, 1.0], [2.0, 2.0])
    assert first[1] == "kept"


@pytest.mark.parametrize("narrow", [True, False])
def test_narrow_weights_keep_to_7_bits(narrow):
    openvino = pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    from openvino import opset13 as ops

    random = np.random.default_rng(0)
    tokens = ops.parameter([1, 16, 64], np.float32, name="input_0")
    weights = [random.normal(0, 0.1, (64, 64)).astype(np.float32) for _ in range(2)]
    hidden = ops.relu(ops.matmul(tokens, ops.constant(weights[0]), False, True))
    made = ops.matmul(hidden, ops.constant(weights[1]), False, True)
    model = openvino.Model([made], [tokens])
    call = [random.normal(size=(1, 16, 64)).astype(np.float32)]
    exact = openvino.compile_model(model, "CPU", F32)(call)[0].copy()

    quantized = openvino_int8(model, [call], narrow)
    constants = [node for node in quantized.get_ordered_ops() if node.get_type_name() == "Constant"]
    stored = [node.data for node in constants if node.data.dtype == np.int8]
    largest = max(abs(data.astype(int)).max() for data in stored)
    assert len(stored) == 2
    assert 32 < largest <= 64 if narrow else largest > 64
    if not narrow and int8_saturates("cpu"):
        pytest.skip("on this CPU sums of 8-bit products saturate")
    error = openvino.compile_model(quantized, "CPU", F32)(call)[0] - exact
    assert 0 < np.linalg.norm(error) / np.linalg.norm(exact) < 0.05
