"""What a trial costs beside its calls: start, load, export, compilation and the check."""

from __future__ import annotations

from dataclasses import dataclass

import numpy

from search_space.config import Config, completed
from tests.benchmarks.search.memory import BYTES, Memory

RUNTIME_S = {"onnxruntime": 2.0, "openvino": 8.0, "tensorrt": 90.0}
"""To build a runtime's own graph of a billion parameters: 5 to 12 s with OpenVINO were measured."""

COMPILE = {
    "compile-regional": 0.35,
    "compile-default": 1.0,
    "compile-reduce-overhead": 1.1,
    "compile-max-autotune": 3.0,
    "compile-openvino": 0.6,
}
"""The seconds of compiling a denoiser beside ``compile-default``'s."""

INDUCTOR = {"freezing": 1.1, "coordinate-descent": 1.8}

CHECK_CALLS = 1.2
"""The check makes one call of another prompt and compares the images."""


@dataclass(frozen=True)
class Costs:
    """The figures of one machine."""

    start_s: float
    gib_a_second: float
    export_s: float
    """To export a billion parameters: 26 s for a UNet of 0.86 billion were measured."""
    compile_s: float
    """To compile a denoiser: 82 s were measured on two cores."""

    def set_up_s(self, config: Config, memory: Memory) -> dict[str, float]:
        """The seconds of each phase before the calls; ``first_call`` is what compilers add."""
        chosen = completed(config)
        billions = {
            "engine": memory.denoiser_weights / 1e9,
            "text_encoder_engine": memory.text_weights / 1e9,
            "vae_engine": memory.vae_weights / 1e9,
        }
        loaded_gib = sum(billions.values()) * BYTES[chosen["precision"]] * 0.93
        seconds = {"start": self.start_s, "load": loaded_gib / self.gib_a_second}
        if chosen["quantization"] != "none":
            seconds["load"] += 4 * billions["engine"]
        export_s = engine_s = compile_s = 0.0
        for knob, parameters in billions.items():
            engine = chosen[knob]
            runtime = next((name for name in RUNTIME_S if engine.endswith(name)), None)
            runtime = runtime or next((name for name in RUNTIME_S if engine.startswith(name)), None)
            if runtime:
                export_s += 2 + self.export_s * parameters
                quantizes_s = 40 * parameters if "int8" in engine else 0.0
                engine_s += 1 + RUNTIME_S[runtime] * parameters + quantizes_s
            elif engine != "eager":
                share = {"text_encoder_engine": 0.2, "vae_engine": 0.5}.get(knob, 1.0)
                tuned = INDUCTOR.get(chosen["inductor"], 1.0)
                compile_s += share * self.compile_s * COMPILE.get(engine, 1.0) * tuned
        phases = {"export": export_s, "engine": engine_s, "first_call": compile_s}
        return {**seconds, **{phase: phase_s for phase, phase_s in phases.items() if phase_s}}


def draw_costs(device: str, draw: numpy.random.Generator) -> Costs:
    """A fork server starts a trial in no time, a new interpreter takes seconds."""
    return Costs(
        float(draw.choice([0.05, 0.1, 3.0])),
        float(draw.uniform(0.8, 4.0)),
        float(draw.uniform(15, 40)),
        float(draw.uniform(30, 100)) if device == "cpu" else float(draw.uniform(20, 60)),
    )
