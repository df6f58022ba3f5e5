"""Which kernel ``scaled_dot_product_attention`` takes, for models that call it themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from search_space.build import Build
from search_space.knob import Choice, Context, Tier, goes_only_with, more_choices
from search_space.knobs.attention import HALF, PYTORCH_ENGINES, unmasked
from search_space.needs import device, every, need, not_device, probe
from search_space.runtimes.operators import denoiser_operators, sdpa_kernels

SDPA_BACKENDS = {
    "sdpa-flash": "FLASH_ATTENTION",
    "sdpa-efficient": "EFFICIENT_ATTENTION",
    "sdpa-cudnn": "CUDNN_ATTENTION",
    "sdpa-math": "MATH",
}
"""What ``torch.nn.attention.SDPBackend`` calls each choice."""

SIXTEEN_BITS = goes_only_with("precision", HALF, "the kernel computes in 16 bits alone")
FLASH_ANYWAY = not_device("cpu", "on a CPU PyTorch takes its flash kernel anyway")
MATH_ANYWAY = not_device("mps", "on MPS PyTorch has one kernel for attention")


# Others are given a backend by name.
@need("a denoiser that calls scaled_dot_product_attention itself")
def calling_sdpa(context: Context) -> str | None:
    for denoiser in context.spec.denoisers:
        if denoiser.dispatches_attention:
            return f"{denoiser.class_name} calls the attention dispatcher: it has native-* choices"
        if not denoiser.calls_sdpa:
            return f"{denoiser.class_name} does not call scaled_dot_product_attention"
    return None


def sdpa_probe(choice: str) -> Callable[[str, int], str | None]:
    """A probe that asks PyTorch for one kernel and looks at which it took."""

    def kernel_works(device_name: str, head_size: int) -> str | None:
        import torch
        from torch.nn.attention import SDPBackend, sdpa_kernel
        from torch.profiler import ProfilerActivity, profile

        dtype = torch.float32 if device_name == "cpu" else torch.float16
        query = torch.randn(1, 2, 64, head_size, device=device_name, dtype=dtype)
        try:
            with (
                profile(activities=[ProfilerActivity.CPU]) as profiled,
                sdpa_kernel(getattr(SDPBackend, SDPA_BACKENDS[choice])),
            ):
                torch.nn.functional.scaled_dot_product_attention(query, query, query)
        except RuntimeError as error:
            if "No viable backend" not in str(error):
                raise
            kernel = choice.removeprefix("sdpa-")
            return f"PyTorch has no {kernel} kernel for heads of {head_size} on {device_name}"
        kernels = sdpa_kernels(event.key for event in profiled.key_averages())
        if kernels == {choice.removeprefix("sdpa-")}:
            return None
        return f"asked for {choice}, PyTorch took {', '.join(kernels) or 'a kernel of its own'}"

    return kernel_works


def sdpa_effect(build: Build, choice: str) -> str | None:
    """The choice must have been applied, and the profiler must see that kernel and no other."""
    if build.evidence.get("sdpa") != choice:
        return "the denoiser is free to take any kernel"
    kernels = sdpa_kernels(denoiser_operators(build))
    if kernels == {choice.removeprefix("sdpa-")}:
        return None
    return f"the attention kernel is {', '.join(sorted(kernels)) or 'not one of PyTorch'}"


def bound_to(backend: str, forward: Callable[..., Any]) -> Callable[..., Any]:
    """The forward pass with one kernel allowed."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    allowed = getattr(SDPBackend, backend)

    @wraps(forward)
    def bound(*args: Any, **kwargs: Any) -> Any:
        with sdpa_kernel(allowed):
            return forward(*args, **kwargs)

    return bound


@more_choices(
    "attention",
    choices=(
        Choice(
            "sdpa-flash",
            every(FLASH_ANYWAY, calling_sdpa, unmasked, probe("sdpa-flash")),
            Tier.LOSSLESS,
            conflicts=(SIXTEEN_BITS,),
        ),
        Choice(
            "sdpa-efficient",
            every(device("cuda", what="that kernel"), calling_sdpa, probe("sdpa-efficient")),
            Tier.LOSSLESS,
        ),
        Choice(
            "sdpa-cudnn",
            every(device("cuda", what="cuDNN"), calling_sdpa, probe("sdpa-cudnn")),
            Tier.LOSSLESS,
            conflicts=(SIXTEEN_BITS,),
        ),
        Choice(
            "sdpa-math",
            every(MATH_ANYWAY, calling_sdpa, probe("sdpa-math")),
            Tier.LOSSLESS,
            run_on=("cpu",),
        ),
    ),
    effect=sdpa_effect,
    conflicts=(
        goes_only_with("engine", PYTORCH_ENGINES, "an exported graph has kernels of its own"),
    ),
    probes={choice: sdpa_probe(choice) for choice in SDPA_BACKENDS},
)
def attention_sdpa(build: Build, choice: str) -> None:
    """Attention by PyTorch's operator, held to one of its kernels."""
    for denoiser in build.denoisers().values():
        denoiser.forward = bound_to(SDPA_BACKENDS[choice], denoiser.forward)
    build.evidence["sdpa"] = choice
