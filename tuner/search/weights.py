"""What the sizes of weights say of the memory of a config, before any trial."""

from __future__ import annotations

from collections.abc import Callable

import numpy
from numpy.typing import NDArray

from search_space.pipeline.spec import PipelineSpec
from tuner.search.candidates import Columns

Matrix = NDArray[numpy.float64]

FULL_BYTES = 4.0
"""Of a weight in fp32, as diffusers loads it by default."""

PRECISION_BYTES = {"bf16": 2.0, "fp16": 2.0, "fp32": FULL_BYTES}

REST = {
    "precision": {"bf16": 0.65, "fp16": 0.65},
    "attention": {"plain": 1.2, "sdpa-math": 1.2, "native-math": 1.2},
    "attention_slicing": {"auto": 0.85, "max": 0.75},
    "vae_tiling": {"on": 0.75},
    "vae_slicing": {"on": 0.9},
}
"""What choices leave of all that is no weight, where nothing has been measured: 16 bits halve
activations and not the runtime, scores that are written out or sliced are a part of it, and so is
the decode. Trials correct it."""

KIND_BYTES = (("int8", 1.1), ("fp8", 1.1), ("int4", 0.6), ("nf4", 0.6), ("bf16", 2.2))
"""Of a weight by what the name of a choice says of it; scales take a tenth."""

RUNTIMES = ("onnxruntime", "openvino")
"""Engines that hold weights of their own in place of PyTorch's, and both while they are made."""

OFFLOADED_SHARE = (("model-offload", 1.0), ("sequential", 0.05), ("group", 0.1))
"""How much of the model at work lies on the device, by the beginning of a placement's name."""


class Weights:
    """The bytes of the denoisers' and the VAE's weights that a config holds."""

    def __init__(self, spec: PipelineSpec | None, columns: Columns) -> None:
        """Without a spec weights are taken to be small beside all else."""
        self._columns = columns
        self._denoiser = float(sum(each.parameters for each in spec.denoisers)) if spec else 0.0
        self._vae = float(spec.vae.parameters) if spec and spec.vae else 0.0

    def loaded(self, rows: Matrix) -> Matrix:
        """As PyTorch loads them, with what an export of them holds beside."""
        denoiser, vae = self._by_precision(rows)
        export = self._picked(rows, "engine", _exported, 0.0) * self._denoiser
        vae_export = self._picked(rows, "vae_engine", _exported, 0.0) * self._vae
        return denoiser + vae + export + vae_export

    def held(self, rows: Matrix) -> Matrix:
        """On the device, or the host without one, while calls are made."""
        denoiser, vae = self._by_precision(rows)
        for knob, chosen in (
            ("quantization", _kind),
            ("layerwise_casting", _kind),
            ("engine", _runtime),
        ):
            each = self._picked(rows, knob, chosen, 0.0)
            denoiser = numpy.where(each > 0, self._denoiser * each, denoiser)
        each = self._picked(rows, "vae_engine", _runtime, 0.0)
        vae = numpy.where(each > 0, self._vae * each, vae)
        share = self._picked(rows, "placement", _offloaded, 0.0)
        one_by_one = share * numpy.maximum(denoiser, vae)
        return numpy.where(share > 0, one_by_one, denoiser + vae)

    def rest_share(self, rows: Matrix) -> Matrix:
        """The share that is left of what is no weight: activations, mostly."""
        share = numpy.ones(len(rows))
        for knob, shares in REST.items():
            share = share * self._picked(rows, knob, shares.get, 1.0)
        return share

    def _by_precision(self, rows: Matrix) -> tuple[Matrix, Matrix]:
        each = self._picked(rows, "precision", PRECISION_BYTES.get, FULL_BYTES)
        own = self._picked(rows, "vae_precision", PRECISION_BYTES.get, 0.0)
        return self._denoiser * each, self._vae * numpy.where(own > 0, own, each)

    def _picked(
        self, rows: Matrix, knob: str, value_of: Callable[[str], float | None], first: float
    ) -> Matrix:
        """For each row the value of the knob's choice, ``first`` where it has no say."""
        picked = numpy.full(len(rows), first)
        for place, (name, value) in enumerate(self._columns):
            if name == knob:
                known = value_of(value)
                if known is not None:
                    picked = numpy.where(rows[:, place] > 0, known, picked)
        return picked


def _kind(value: str) -> float | None:
    return next((size for kind, size in KIND_BYTES if kind in value), None)


def _runtime(value: str) -> float | None:
    if not value.startswith(RUNTIMES):
        return None
    return _kind(value) or FULL_BYTES * 1.1


def _exported(value: str) -> float | None:
    return FULL_BYTES * 1.1 if value.startswith(RUNTIMES) else None


def _offloaded(value: str) -> float | None:
    return next((share for kind, share in OFFLOADED_SHARE if value.startswith(kind)), None)
