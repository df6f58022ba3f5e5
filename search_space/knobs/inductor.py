"""What inductor is told beside its mode."""

from __future__ import annotations

from search_space.build import Build
from search_space.knob import Choice, Conflict, Context, Need, Stage, Tier, goes_only_with, knob
from search_space.knobs.attention import COMPILED
from search_space.needs import device, need

FREEZABLE = ("compile-default", "compile-max-autotune")
"""Not the regional one: the graph of a repeated block takes its weights as inputs."""

DIFFUSERS_DOCS = {
    "conv_1x1_as_mm": True,
    "coordinate_descent_tuning": True,
    "coordinate_descent_check_all_directions": True,
    "epilogue_fusion": False,
}
"""The settings that the documentation of diffusers recommends on CUDA."""


def without(dtype: str) -> Need:
    """A CPU that does not multiply matrices of the dtype: oneDNN packs no weights in it there."""

    @need(f"a CPU that does not multiply in {dtype}")
    def emulated(context: Context) -> str | None:
        return f"this CPU multiplies in {dtype}" if dtype in context.machine.native_dtypes else None

    return emulated


def inductor_effect(build: Build, choice: str) -> str | None:
    """Frozen weights must have been packed; other settings must have reached a captured graph."""
    from torch._dynamo.utils import counters

    if choice == "freezing":
        packed = [
            counters["inductor"][f"mkldnn_{kind}_weight_pack_matcher_count"]
            for kind in ("linear", "conv")
        ]
        return None if sum(packed) else "no weight was packed for oneDNN"
    if counters["stats"]["unique_graphs"] and build.compile_options:
        return None
    return "no graph was compiled with these settings"


@knob(
    Stage.MEMORY_FORMAT,
    choices=(
        Choice("default"),
        Choice(
            "freezing",
            need=device("cpu", what="packing weights for oneDNN"),
            tier=Tier.LOSSLESS,
            conflicts=(
                goes_only_with(
                    "engine", FREEZABLE, "weights are packed into the graph of a whole model"
                ),
                *(
                    Conflict(
                        "precision",
                        (dtype,),
                        f"oneDNN packs no {dtype} weights for this CPU",
                        where=without(dtype),
                    )
                    for dtype in ("bf16", "fp16")
                ),
            ),
            run_on=("cpu",),
        ),
        Choice(
            "coordinate-descent",
            need=device("cuda", what="tuning the blocks of Triton kernels"),
            tier=Tier.LOSSLESS,
            conflicts=(goes_only_with("engine", COMPILED, "the setting is one of inductor"),),
        ),
    ),
    effect=inductor_effect,
)
def inductor(build: Build, choice: str) -> None:
    """Settings of inductor: weights packed for the CPU's kernels, or kernels tuned for CUDA."""
    if choice == "freezing":
        import torch._inductor.config

        # Dynamo asks this flag, not the options of a compile call, whether weights are constants.
        torch._inductor.config.freezing = True
    else:
        build.compile_options |= DIFFUSERS_DOCS
