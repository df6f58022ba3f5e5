"""ONNX Runtime in the place of the denoiser's forward."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from search_space.build import Build
from search_space.knob import Choice, Conflict, Context, Tier, more_choices
from search_space.needs import not_device

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def provider_available(context: Context) -> str | None:
    """The installed build of ONNX Runtime must have a provider for the device."""
    machine = context.machine
    if len(context.spec.denoisers) > 1:
        return "only pipelines with one denoiser are exported yet"
    provider = PROVIDERS.get(machine.device)
    if provider is None:
        return f"no execution provider of ONNX Runtime is used for {machine.device} yet"
    if machine.probes.get(provider, "not tried") is None:
        return None
    return f"the installed onnxruntime has no {provider}: pip install onnxruntime-gpu"


def provider_probe(provider: str) -> Callable[[str], str | None]:
    """A probe that asks the installed build for a provider."""

    def probe(device: str) -> str | None:
        import onnxruntime

        return None if provider in onnxruntime.get_available_providers() else "not in this build"

    return probe


def onnxruntime_effect(build: Build, choice: str) -> str | None:
    """Every session must run on the device's provider: ONNX Runtime falls back without a word."""
    providers = build.evidence.get("providers", {})
    for name in build.denoisers():
        provider = providers.get(name, "PyTorch")
        if provider != PROVIDERS[build.device]:
            return f"{name} runs on {provider}"
    return None


def example_tensors(
    signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[Any], Any]:
    """The leaves of a call's arguments, bound to their names, and the tree they came from."""
    from torch.utils import _pytree as pytree

    bound = dict(signature.bind(*args, **kwargs).arguments)
    bound.pop("return_dict", None)
    return pytree.tree_flatten(bound)


def graph_key(module: Any, leaves: list[Any]) -> str:
    """What an exported graph depends on: model, a sample of each weight, inputs and versions."""
    import onnxscript
    import torch

    digest = hashlib.blake2b(digest_size=16)
    versions = [torch.__version__, onnxscript.__version__]
    processors = sorted({type(p).__name__ for p in getattr(module, "attn_processors", {}).values()})
    facts = [type(module).__name__, dict(module.config), versions, processors]
    digest.update(json.dumps(facts, sort_keys=True, default=str).encode())
    for name, weight in module.state_dict().items():
        flat = weight.detach().reshape(-1)
        sample = flat[:: max(1, flat.numel() // 64)].double().cpu().numpy().tobytes()
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode() + sample)
    for leaf in leaves:
        known = (tuple(leaf.shape), leaf.dtype) if isinstance(leaf, torch.Tensor) else leaf
        digest.update(repr(known).encode())
    return digest.hexdigest()


def export_graph(module: Any, leaves: list[Any], tree: Any, folder: Path) -> Path:
    """Export the module for the shapes of the example; the folder appears whole or not at all."""
    import torch
    from torch.utils import _pytree as pytree

    positions = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *tensors: Any) -> Any:
            filled = list(leaves)
            for position, tensor in zip(positions, tensors, strict=True):
                filled[position] = tensor
            return module.forward(**pytree.tree_unflatten(filled, tree), return_dict=False)[0]

    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        tensors = tuple(leaves[position] for position in positions)
        names = [f"input_{position}" for position in positions]
        with torch.no_grad():
            torch.onnx.export(
                Flat().eval(),
                tensors,
                str(unfinished / "model.onnx"),
                dynamo=True,
                external_data=True,
                input_names=names,
                output_names=["sample"],
                verbose=False,
            )
        if not folder.exists():
            os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder / "model.onnx"


def release_weights(module: Any) -> None:
    """Give back the memory of weights that nothing reads any more; dtype and device stay known."""
    import torch

    for weight in (*module.parameters(), *module.buffers()):
        weight.data = torch.empty(0, dtype=weight.dtype, device=weight.device)


def bind(bind_one: Callable[..., None], name: str, tensor: Any) -> None:
    """Give a session the memory of a contiguous tensor as an input or output."""
    import numpy

    dtype = numpy.dtype(str(tensor.dtype).removeprefix("torch."))
    device, index = tensor.device.type, tensor.device.index or 0
    bind_one(name, device, index, dtype, tuple(tensor.shape), tensor.data_ptr())


def session_forward(module: Any, session: Any, leaves: list[Any]) -> Callable[..., Any]:
    """A forward for the module that feeds the session by reference and returns its first output."""
    import torch
    from diffusers.models.modeling_outputs import Transformer2DModelOutput

    signature = inspect.signature(module.forward)
    wanted = {value.name: int(value.name.removeprefix("input_")) for value in session.get_inputs()}
    output = session.get_outputs()[0]
    shapes = {position: tuple(leaves[position].shape) for position in wanted.values()}

    def forward(*args: Any, return_dict: bool = True, **kwargs: Any) -> Any:
        found, _ = example_tensors(signature, args, kwargs)
        binding = session.io_binding()
        kept = []
        for name, position in wanted.items():
            tensor = found[position].contiguous()
            if tuple(tensor.shape) != shapes[position]:
                raise ValueError(
                    f"this pipeline was exported for inputs of shape {shapes[position]} and got "
                    f"{tuple(tensor.shape)}: call it with the size, batch and guidance it was "
                    "tuned for, or tune for the new ones"
                )
            kept.append(tensor)
            bind(binding.bind_input, name, tensor)
        sample = torch.empty(output.shape, dtype=module.dtype, device=module.device)
        bind(binding.bind_output, output.name, sample)
        session.run_with_iobinding(binding)
        return Transformer2DModelOutput(sample=sample) if return_dict else (sample,)

    return forward


@more_choices(
    "engine",
    choices=(
        Choice(
            "onnxruntime",
            need=provider_available,
            tier=Tier.LOSSLESS,
            conflicts=(
                Conflict("precision", ("bf16",), "ONNX Runtime has no bfloat16 convolutions"),
                Conflict(
                    "precision",
                    ("fp16",),
                    "ONNX Runtime computes float16 as float32 on a CPU",
                    need=not_device("cpu", "the device is a CPU"),
                ),
            ),
        ),
    ),
    effect=onnxruntime_effect,
    probes={provider: provider_probe(provider) for provider in PROVIDERS.values()},
    run_on=("cpu",),
)
def onnxruntime(build: Build, choice: str) -> None:
    """The denoiser exported for the shapes of this workload and run by ONNX Runtime."""
    import onnxruntime as runtime

    build.evidence["providers"] = {}
    build.evidence["weights_released"] = True
    for name, (args, kwargs) in build.record().items():
        module = build.denoisers()[name]
        leaves, tree = example_tensors(inspect.signature(module.forward), args, kwargs)
        folder = build.cache_dir / "onnx" / graph_key(module, leaves)
        if not folder.exists():
            build.enter("export")
            export_graph(module, leaves, tree, folder)
        build.enter("session")
        session = runtime.InferenceSession(
            folder / "model.onnx", providers=[PROVIDERS[build.device]]
        )
        build.evidence["providers"][name] = session.get_providers()[0]
        release_weights(module)
        module.forward = session_forward(module, session, leaves)
