"""The denoiser's weights stored in 8 bits and widened layer by layer."""

from __future__ import annotations

from search_space.build import Build
from search_space.knob import STEP, Choice, Stage, Tier, goes_only_with, knob
from search_space.needs import not_device

FLOAT8 = {"fp8-e4m3": "float8_e4m3fn", "fp8-e5m2": "float8_e5m2"}


def layerwise_casting_effect(build: Build, choice: str) -> str | None:
    """After the calls some weights of each denoiser must be in the 8-bit format again."""
    for name, denoiser in build.denoisers().items():
        dtypes = {str(weight.dtype).removeprefix("torch.") for weight in denoiser.parameters()}
        if FLOAT8[choice] not in dtypes:
            return f"the weights of {name} are stored as {', '.join(sorted(dtypes))}"
    return None


STORES_FLOAT8 = not_device("mps", "float8 does not exist on mps")


@knob(
    Stage.CASTING,
    choices=(
        Choice("off"),
        Choice("fp8-e4m3", need=STORES_FLOAT8, tier=Tier.LOSSY),
        Choice("fp8-e5m2", need=STORES_FLOAT8, tier=Tier.LOSSY),
    ),
    conflicts=(
        goes_only_with("engine", ("eager",), "a graph cannot change the weights that it runs on"),
        goes_only_with("quantization", ("none",), "the weights are stored in few bits already"),
    ),
    effect=layerwise_casting_effect,
    run_on=("cpu",),
    parts=STEP,
)
def layerwise_casting(build: Build, choice: str) -> None:
    """The denoiser's weights stored in float8; each layer widens its own while it computes."""
    import torch

    for denoiser in build.denoisers().values():
        denoiser.enable_layerwise_casting(
            storage_dtype=getattr(torch, FLOAT8[choice]), compute_dtype=denoiser.dtype
        )
