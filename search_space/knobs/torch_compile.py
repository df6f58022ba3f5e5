"""torch.compile of the denoiser by inductor."""

from __future__ import annotations

from search_space.build import Build
from search_space.knob import Choice, Context, Tier, more_choices
from search_space.needs import cpp_compiler, device, every


def repeated_blocks(context: Context) -> str | None:
    """Regional compilation needs a model that names its repeated blocks."""
    for denoiser in context.spec.denoisers:
        if not denoiser.repeats_blocks:
            return f"{denoiser.class_name} does not name its repeated blocks"
    return None


def torch_compile_effect(build: Build, choice: str) -> str | None:
    """Dynamo must have captured graphs since the pipeline was compiled."""
    from torch._dynamo.utils import counters

    if counters["stats"]["unique_graphs"] > 0:
        return None
    return "torch.compile captured no graph"


@more_choices(
    "engine",
    choices=(
        Choice("compile-regional", need=every(cpp_compiler, repeated_blocks), tier=Tier.LOSSLESS),
        Choice("compile-default", need=cpp_compiler, tier=Tier.LOSSLESS),
        Choice(
            "compile-reduce-overhead",
            need=device("cuda", what="reduce-overhead records CUDA graphs: it"),
            tier=Tier.LOSSLESS,
            run_on=(),
        ),
        Choice("compile-max-autotune", need=cpp_compiler, tier=Tier.LOSSLESS),
    ),
    effect=torch_compile_effect,
    run_on=("cpu",),
)
def torch_compile(build: Build, choice: str) -> None:
    """The denoiser compiled by inductor: its repeated blocks, or the whole model in one mode."""
    from torch._inductor import list_mode_options

    mode = choice.removeprefix("compile-")
    options = {} if mode in ("regional", "default") else dict(list_mode_options(mode))
    if build.device == "cpu":
        # Freezing prepacks the weights for oneDNN; CUDA graphs do not exist here. The graph of
        # a repeated block takes its weights as inputs, so there is nothing to freeze in it.
        options.pop("triton.cudagraphs", None)
        options |= {"freezing": True} if mode != "regional" else {}
    for denoiser in build.denoisers().values():
        if mode == "regional":
            denoiser.compile_repeated_blocks(fullgraph=True)
        else:
            denoiser.compile(options=options or None)
