"""The backends of diffusers' attention dispatcher whose kernels are fetched from the Hub."""

from __future__ import annotations

from search_space.build import Build
from search_space.knob import Choice, Context, Need, Tier, goes_only_with, more_choices
from search_space.knobs.attention import HALF, PYTORCH_ENGINES, dispatching, unmasked
from search_space.knobs.attention_backends import CUDA, backends_effect, registry_name
from search_space.needs import every, installed, need, remote_code


@need("a build of torch for ROCm")
def rocm(context: Context) -> str | None:
    if "rocm" in context.machine.packages.get("torch", ""):
        return None
    return "this attention kernel needs a build of torch for ROCm"


@need("attention heads that are 64 or 128 wide")
def head_of_64_or_128(context: Context) -> str | None:
    sizes = {denoiser.head_size for denoiser in context.spec.denoisers}
    return None if sizes <= {64, 128} else f"the attention heads are {max(sizes)} wide"


def of_hub(choice: str, *needs: Need, precisions: tuple[str, ...] = HALF) -> Choice:
    """A backend whose kernel is fetched from the Hub: not probed, for that would fetch it."""
    tier = Tier.NEAR if choice.startswith("sage") else Tier.LOSSLESS
    needed = every(dispatching, remote_code, installed("kernels", "kernels"), CUDA, *needs)
    reason = f"the kernel computes in {' or '.join(precisions)} alone"
    conflict = goes_only_with("precision", precisions, reason)
    return Choice(choice, needed, tier, conflicts=(conflict,))


@more_choices(
    "attention",
    choices=(
        of_hub("flash-hub", unmasked),
        of_hub("flash-varlen-hub"),
        of_hub("flash-3-hub", unmasked),
        of_hub("flash-3-varlen-hub"),
        of_hub("flash-4-hub", unmasked),
        of_hub("aiter-fa2-hub", unmasked, rocm, precisions=("bf16",)),
        of_hub("sage-hub", unmasked),
        of_hub("sage-blackwell-hub", unmasked, head_of_64_or_128),
    ),
    effect=backends_effect,
    conflicts=(
        goes_only_with("engine", PYTORCH_ENGINES, "an exported graph has kernels of its own"),
    ),
)
def attention_hub(build: Build, choice: str) -> None:
    """Attention by a kernel that diffusers fetches from the Hub and runs."""
    for denoiser in build.denoisers().values():
        denoiser.set_attention_backend(registry_name(choice))
