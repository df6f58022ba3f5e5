"""The backends of diffusers' attention dispatcher that are installed, for models that call it.

Each choice is called as in the registry of diffusers, with dashes. Those for NPUs and for XLA are
left out, for a pipeline cannot be tuned on such a device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import metadata

from search_space.build import Build
from search_space.knob import Choice, Conflict, Context, Need, Tier, goes_only_with, more_choices
from search_space.knobs.attention import COMPILED, PYTORCH_ENGINES, dispatching, unmasked
from search_space.knobs.attention_sdpa import FLASH_ANYWAY, MATH_ANYWAY, SIXTEEN_BITS
from search_space.needs import device, every, need, probe
from search_space.pipeline.attention_layers import attention_layers, dispatches
from search_space.runtimes.operators import denoiser_operators, sdpa_kernels

FLASH_2 = ("flash-attn", "pip install flash-attn --no-build-isolation")
FLASH_3 = ("flash-attn-3", "build hopper/ of github.com/Dao-AILab/flash-attention")
# PyPI has 1.0.6 alone, and diffusers asks for 2.1.1.
SAGE = ("sageattention", "build 2.1.1 or later from github.com/thu-ml/SageAttention")
CUDA = device("cuda", what="this attention kernel")
# torch 2.13 takes the base of the query's view for the query itself: wrong for Wan and LTX.
FLEX_COMPILED = Conflict(
    "engine",
    COMPILED,
    "inductor cannot compile Flex Attention of most models for a CPU",
    where=device("cpu"),
)


def absent(package: str, how: str) -> str | None:
    """That the package is not installed in this process, or None."""
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return f"{package} is not installed: {how}"
    return None


def present(package: str, how: str) -> Need:
    """The package, which no extra of ours can bring."""

    @need(f"the package {package}", packages=[package])
    def package_present(context: Context) -> str | None:
        return None if package in context.machine.packages else f"{package} is not installed: {how}"

    return package_present


def package_of(choice: str) -> tuple[str, str]:
    """The package that brings a backend, and how to install it."""
    if choice.startswith("sage"):
        return SAGE
    return FLASH_3 if choice.endswith("-3") else FLASH_2


def registry_name(choice: str) -> str:
    """What diffusers calls the backend; the choice itself where it does not know it."""
    from diffusers.models.attention_dispatch import AttentionBackendName

    names = [str(backend.value) for backend in AttentionBackendName]
    return next((name for name in names if name.strip("_").replace("_", "-") == choice), choice)


def backend_probe(
    choice: str, package: tuple[str, str] | None = None
) -> Callable[[str, int], str | None]:
    """A probe that checks what the backend requires and calls it once."""

    def backend_works(device_name: str, head_size: int) -> str | None:
        import torch
        from diffusers.models import attention_dispatch as dispatch

        if package is not None and (reason := absent(*package)):
            return reason
        backend = dispatch.AttentionBackendName(registry_name(choice))
        try:
            dispatch._check_attention_backend_requirements(backend)
        except RuntimeError:
            # It names the package and the version that it wants among much else.
            name, how = package or ("torch", "pip install --upgrade torch")
            return f"the installed {name} is too old for diffusers: {how}"
        dtype = torch.float32 if device_name == "cpu" else torch.float16
        query = torch.randn(1, 64, 2, head_size, device=device_name, dtype=dtype)
        output = dispatch.dispatch_attention_fn(query, query, query, backend=backend)
        return None if output.isfinite().all() else f"{choice} gives NaN or infinity here"

    return backend_works


def backends_effect(build: Build, choice: str) -> str | None:
    """Every processor that has a backend must have this one, and PyTorch's kernels must be seen."""
    for name, denoiser in build.denoisers().items():
        layers = [layer for layer in attention_layers(denoiser) if dispatches(layer)]
        backends = [layer.processor._attention_backend for layer in layers]
        names = {str(getattr(backend, "value", "native")) for backend in backends}
        if names != {registry_name(choice)}:
            return f"the attention backends of {name} are {sorted(names)}"
    family, _, kernel = choice.partition("-")
    if family == "native" and kernel not in sdpa_kernels(denoiser_operators(build)):
        return f"the {kernel} kernel of PyTorch was not run"
    return None


def of_pytorch(kernel: str, *needs: Need, conflicts: tuple[Conflict, ...] = ()) -> Choice:
    """A kernel of PyTorch's own operator, which is probed as such."""
    needed = every(*needs, dispatching, probe(f"sdpa-{kernel}"))
    return Choice(f"native-{kernel}", needed, Tier.LOSSLESS, conflicts=conflicts)


def of_package(choice: str, package: tuple[str, str], *needs: Need) -> Choice:
    """A backend that an installed package brings, in 16 bits on CUDA."""
    tier = Tier.NEAR if choice.startswith("sage") else Tier.LOSSLESS
    needed = every(CUDA, dispatching, *needs, present(*package), probe(choice))
    return Choice(choice, needed, tier, conflicts=(SIXTEEN_BITS,))


PACKAGED = (
    of_package("flash", FLASH_2, unmasked),
    of_package("flash-varlen", FLASH_2),
    of_package("flash-3", FLASH_3, unmasked),
    of_package("flash-varlen-3", FLASH_3),
    of_package("sage", SAGE, unmasked),
    of_package("sage-varlen", SAGE),
    of_package("sage-qk-int8-pv-fp8-cuda", SAGE, unmasked),
    of_package("sage-qk-int8-pv-fp8-cuda-sm90", SAGE, unmasked),
    of_package("sage-qk-int8-pv-fp16-cuda", SAGE, unmasked),
    of_package("sage-qk-int8-pv-fp16-triton", SAGE, unmasked),
)


@more_choices(
    "attention",
    choices=(
        of_pytorch("flash", FLASH_ANYWAY, unmasked, conflicts=(SIXTEEN_BITS,)),
        of_pytorch("efficient", CUDA),
        of_pytorch("cudnn", CUDA, conflicts=(SIXTEEN_BITS,)),
        replace(of_pytorch("math", MATH_ANYWAY), run_on=("cpu",)),
        Choice(
            "flex",
            every(dispatching, probe("flex")),
            Tier.LOSSLESS,
            conflicts=(FLEX_COMPILED,),
            run_on=("cpu",),
        ),
        *PACKAGED,
    ),
    effect=backends_effect,
    conflicts=(
        goes_only_with("engine", PYTORCH_ENGINES, "an exported graph has kernels of its own"),
    ),
    probes={
        "flex": backend_probe("flex"),
        **{c.value: backend_probe(c.value, package_of(c.value)) for c in PACKAGED},
    },
)
def attention_backends(build: Build, choice: str) -> None:
    """Attention by a backend of diffusers' dispatcher: a kernel of PyTorch or of a package."""
    for denoiser in build.denoisers().values():
        denoiser.set_attention_backend(registry_name(choice))
