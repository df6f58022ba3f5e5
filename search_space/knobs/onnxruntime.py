"""ONNX Runtime in the place of the denoiser, the VAE's decoder and the text encoders."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from search_space.build import Build
from search_space.graph import (
    Graph,
    Run,
    answer_by,
    graph_key,
    graphs,
    release_weights,
    traceable,
)
from search_space.knob import Choice, Conflict, Context, Effect, Tier, more_choices
from search_space.needs import not_device

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
PRECISION = (
    Conflict("precision", ("bf16",), "ONNX Runtime has no bfloat16 convolutions"),
    Conflict(
        "precision",
        ("fp16",),
        "ONNX Runtime computes float16 as float32 on a CPU",
        need=not_device("cpu", "the device is a CPU"),
    ),
)


def provider_available(context: Context) -> str | None:
    """The installed build of ONNX Runtime must have a provider for the device."""
    machine = context.machine
    provider = PROVIDERS.get(machine.device)
    if provider is None:
        return f"no execution provider of ONNX Runtime is used for {machine.device} yet"
    if machine.probes.get(provider, "not tried") is None:
        return None
    return f"the installed onnxruntime has no {provider}: pip install onnxruntime-gpu"


def one_denoiser(context: Context) -> str | None:
    """A second denoiser may take over at a later step, and has then not been recorded."""
    if len(context.spec.denoisers) > 1:
        return "only pipelines with one denoiser are exported yet"
    return provider_available(context)


def provider_probe(provider: str) -> Callable[[str, int], str | None]:
    """A probe that asks the installed build for a provider."""

    def probe(device: str, head_size: int) -> str | None:
        import onnxruntime

        return None if provider in onnxruntime.get_available_providers() else "not in this build"

    return probe


def sessions_effect(part: str) -> Effect:
    """Every session must run on the device's provider: ONNX Runtime falls back without a word."""

    def effect(build: Build, choice: str) -> str | None:
        """Every session must run on the device's provider."""
        providers = build.evidence.get("providers", {})
        for entry in build.entries(part):
            provider = providers.get(entry.name, "PyTorch")
            if provider != PROVIDERS[build.device]:
                return f"{entry.name} runs on {provider}"
        return None

    return effect


def export_onnx(graph: Graph, folder: Path) -> None:
    """Export for the shapes of the example; the folder appears whole or not at all."""
    import torch

    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        with torch.no_grad():
            torch.onnx.export(
                traceable(graph),
                graph.tensors,
                str(unfinished / "model.onnx"),
                dynamo=True,
                external_data=True,
                input_names=[f"input_{place}" for place in range(len(graph.tensors))],
                output_names=[f"output_{place}" for place in range(graph.output_count)],
                verbose=False,
            )
        if not folder.exists():
            os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


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
    made = [leaf for leaf in graph.outputs if isinstance(leaf, torch.Tensor)]
    names = [value.name for value in session.get_outputs()]

    def run(tensors: Sequence[Any]) -> Sequence[Any]:
        binding = session.io_binding()
        for name, place in used.items():
            bind(binding.bind_input, name, tensors[place])
        device = tensors[0].device
        outputs = [torch.empty(leaf.shape, dtype=leaf.dtype, device=device) for leaf in made]
        for name, output in zip(names, outputs, strict=True):
            bind(binding.bind_output, name, output)
        session.run_with_iobinding(binding)
        return outputs

    return run


def run_by_onnxruntime(build: Build, part: str) -> None:
    """Export what is not in the cache, let go of the weights, and answer by sessions."""
    import onnxruntime as runtime
    import onnxscript
    import torch

    for graph in graphs(build, part):
        key = graph_key(graph, torch.__version__, onnxscript.__version__)
        folder = build.cache_dir / "onnx" / key
        if not folder.exists():
            build.enter("export")
            export_onnx(graph, folder)
        build.enter("session")
        release_weights(graph.entry)
        build.evidence["weights_released"] = True
        session = runtime.InferenceSession(
            folder / "model.onnx", providers=[PROVIDERS[build.device]]
        )
        build.evidence.setdefault("providers", {})[graph.entry.name] = session.get_providers()[0]
        answer_by(graph, session_run(session, graph))


PROBES = {provider: provider_probe(provider) for provider in PROVIDERS.values()}


@more_choices(
    "engine",
    choices=(Choice("onnxruntime", need=one_denoiser, tier=Tier.LOSSLESS),),
    effect=sessions_effect("engine"),
    conflicts=PRECISION,
    probes=PROBES,
    run_on=("cpu",),
)
def onnxruntime(build: Build, choice: str) -> None:
    """The denoiser exported for the shapes of this workload and run by ONNX Runtime."""
    run_by_onnxruntime(build, "engine")


@more_choices(
    "vae_engine",
    choices=(Choice("onnxruntime", need=provider_available, tier=Tier.LOSSLESS),),
    effect=sessions_effect("vae_engine"),
    conflicts=PRECISION,
    run_on=("cpu",),
)
def onnxruntime_vae(build: Build, choice: str) -> None:
    """The VAE's decoder exported for the shapes of this workload and run by ONNX Runtime."""
    run_by_onnxruntime(build, "vae_engine")


@more_choices(
    "text_encoder_engine",
    choices=(Choice("onnxruntime", need=provider_available, tier=Tier.LOSSLESS),),
    effect=sessions_effect("text_encoder_engine"),
    conflicts=PRECISION,
    run_on=("cpu",),
)
def onnxruntime_text_encoder(build: Build, choice: str) -> None:
    """The text encoders exported for the length of the prompt and run by ONNX Runtime."""
    run_by_onnxruntime(build, "text_encoder_engine")
