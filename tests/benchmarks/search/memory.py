"""The memory of a synthetic machine: weights by dtype and placement, and activations, by phase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy

from tests.benchmarks.search.enumeration import Configs
from tests.benchmarks.search.pipelines import Pipeline

GIB = 2**30

BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0}

QUANTIZED_BYTES = {
    "torchao-int8-weights": 1.1,
    "torchao-int8-dynamic": 1.1,
    "torchao-fp8-weights": 1.1,
    "torchao-fp8-dynamic": 1.1,
    "bnb-int8": 1.2,
}
"""A byte a weight and its scales."""

RUNTIME_BYTES = {
    "onnxruntime": 4.4,
    "onnxruntime-int8-dynamic": 1.3,
    "onnxruntime-tensorrt": 2.2,
    "openvino": 4.4,
    "openvino-bf16": 2.4,
    "openvino-int8-weights": 1.3,
    "openvino-int8": 1.3,
}
"""A runtime keeps its own weights, and PyTorch's are given back after the export."""

RESIDENT = {
    "model-offload": 1.0,
    "sequential-offload": 0.04,
    "group-offload-leaf": 0.05,
    "group-offload-leaf-stream": 0.09,
}
"""The share of the model at work that lies on the device; the others lie on the host."""

ATTENTION_ACTIVATIONS = {
    "plain": 1.9,
    "sdpa-math": 1.9,
    "native-math": 1.9,
    "flex": 1.6,
    "sdpa-flash": 0.95,
    "sage": 0.9,
}
SLICING = {"auto": 0.7, "max": 0.5}
CACHED = {"deepcache-2": 1.15, "deepcache-3": 1.15, "taylorseer-lite-3": 1.5}

HOST_GIB = 0.8
"""Python, torch and diffusers."""

CONTEXT_GIB = 0.5
"""What CUDA and its libraries hold of the device."""

Peaks = dict[tuple[str, str], Any]
"""Bytes by place and phase, for each config."""


@dataclass(frozen=True)
class Memory:
    """The figures of one machine and pipeline; activations in fp32, as the baseline has them."""

    device: str
    denoiser_weights: float
    text_weights: float
    vae_weights: float
    text_gib: float
    step_gib: float
    decode_gib: float
    batch_size: int

    def peaks(self, configs: Configs) -> Peaks:
        """The highest of each phase, for each config."""
        weights, largest = self._weights_gib(configs)
        activations = self._activations_gib(configs)
        loaded = self._sum(self._loaded_gib(configs))
        graph_gib = self._graph_gib(configs)
        if self.device == "cpu":
            held = HOST_GIB + self._sum(weights)
            call = held + numpy.maximum.reduce(numpy.broadcast_arrays(*activations))
            engine = HOST_GIB + loaded + graph_gib
            gib = {
                ("host", "load"): HOST_GIB + 1.05 * loaded,
                ("host", "engine"): numpy.maximum(engine, held),
                ("host", "steady"): call,
            }
        else:
            gib = self._with_device(configs, weights, largest, activations, loaded, graph_gib)
        rows = len(configs)
        return {
            key: numpy.broadcast_to(numpy.floor(GIB * value), rows) for key, value in gib.items()
        }

    def _with_device(
        self,
        configs: Configs,
        weights: tuple[Any, ...],
        largest: Any,
        activations: tuple[Any, ...],
        loaded: Any,
        graph_gib: Any,
    ) -> Peaks:
        share = configs.pick("placement", RESIDENT, 0.0)
        offloads = share > 0
        at_work = [
            share * weight + activation
            for weight, activation in zip(weights, activations, strict=True)
        ]
        together = self._sum(weights) + numpy.maximum.reduce(numpy.broadcast_arrays(*activations))
        one_by_one = numpy.maximum.reduce(numpy.broadcast_arrays(*at_work))
        call = CONTEXT_GIB + numpy.where(offloads, one_by_one, together)
        resident = CONTEXT_GIB + numpy.where(offloads, 0.0, loaded)
        host = 2 * HOST_GIB + numpy.where(offloads, 1.05 * loaded, 0.3 * largest)
        return {
            ("device", "load"): resident,
            ("device", "engine"): resident + graph_gib,
            ("device", "steady"): call,
            ("host", "load"): host,
            ("host", "steady"): host,
        }

    def _loaded_gib(self, configs: Configs) -> tuple[Any, Any, Any]:
        """The weights of the denoiser, the text encoders and the VAE as PyTorch loads them."""
        bytes_each = configs.pick("precision", BYTES, 4.0)
        vae_bytes = configs.pick("vae_precision", BYTES, 0.0)
        vae_bytes = numpy.where(vae_bytes > 0, vae_bytes, bytes_each)
        return (
            self.denoiser_weights * bytes_each / GIB,
            self.text_weights * bytes_each / GIB,
            self.vae_weights * vae_bytes / GIB,
        )

    def _weights_gib(self, configs: Configs) -> tuple[tuple[Any, Any, Any], Any]:
        """The same once all knobs have acted, and the largest of them."""
        denoiser, text, vae = self._loaded_gib(configs)
        quantized = configs.pick("quantization", QUANTIZED_BYTES, 0.0)
        denoiser = numpy.where(quantized > 0, self.denoiser_weights * quantized / GIB, denoiser)
        cast = configs.pick("layerwise_casting", {"fp8-e4m3": 1.1}, 0.0)
        denoiser = numpy.where(cast > 0, self.denoiser_weights * cast / GIB, denoiser)
        parts = []
        for knob, weights, in_torch in (
            ("engine", self.denoiser_weights, denoiser),
            ("text_encoder_engine", self.text_weights, text),
            ("vae_engine", self.vae_weights, vae),
        ):
            each = configs.pick(knob, RUNTIME_BYTES, 0.0)
            parts.append(numpy.where(each > 0, weights * each / GIB, in_torch))
        denoiser, text, vae = parts
        return (denoiser, text, vae), numpy.maximum(numpy.maximum(denoiser, text), vae)

    def _graph_gib(self, configs: Configs) -> Any:
        """What making a graph holds beside the pipeline: an export holds the weights anew."""
        exported = dict.fromkeys(RUNTIME_BYTES, 4.4)
        compiled = {name: 0.3 for name in configs.space.choices["engine"] if "compile" in name}
        return sum(
            weights * configs.pick(knob, exported, 0.0) / GIB
            for knob, weights in (
                ("engine", self.denoiser_weights),
                ("text_encoder_engine", self.text_weights),
                ("vae_engine", self.vae_weights),
            )
        ) + configs.pick("engine", compiled, 0.0)

    def _activations_gib(self, configs: Configs) -> tuple[Any, Any, Any]:
        """Of a step, of text encoding and of the decode, in the order of the weights."""
        bytes_each = configs.pick("precision", BYTES, 4.0)
        vae_bytes = configs.pick("vae_precision", BYTES, 0.0)
        vae_bytes = numpy.where(vae_bytes > 0, vae_bytes, bytes_each)
        step = (
            self.step_gib
            * bytes_each
            / 4
            * configs.pick("attention", ATTENTION_ACTIVATIONS, 1.0)
            * configs.pick("attention_slicing", SLICING, 1.0)
            * configs.pick("cache", CACHED, 1.0)
            * configs.pick("allocator", {"tcmalloc": 1.15, "jemalloc": 1.1, "system-kept": 1.2}, 1)
        )
        decode = (
            self.decode_gib
            * vae_bytes
            / 4
            * configs.pick("vae_tiling", {"on": 0.35}, 1.0)
            * configs.pick("vae_slicing", {"on": 0.15 + 0.85 / self.batch_size}, 1.0)
        )
        return step, self.text_gib * bytes_each / 4, decode

    @staticmethod
    def _sum(parts: tuple[Any, ...]) -> Any:
        return parts[0] + parts[1] + parts[2]


def draw_memory(
    device: str, pipeline: Pipeline, batch_size: int, draw: numpy.random.Generator
) -> Memory:
    """Activations of some GiB beside the weights, which follow from the parameters."""
    spec = pipeline.spec
    spread = numpy.exp(draw.normal(0, 0.3, 3))
    assert spec.vae is not None
    return Memory(
        device,
        sum(denoiser.parameters for denoiser in spec.denoisers),
        pipeline.text_parameters,
        spec.vae.parameters,
        0.2 * spread[0],
        1.5 * batch_size**0.7 * spread[1],
        3.0 * batch_size**0.7 * spread[2],
        batch_size,
    )
