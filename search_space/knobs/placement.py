"""Where the models are kept between their calls: on the device, or on the host."""

from __future__ import annotations

from search_space.build import Build
from search_space.knob import Choice, Conflict, Context, Stage, goes_only_with, knob
from search_space.needs import accelerator, every, need

HOOKS = "the hooks that move weights stand in the way of"
EAGER_ONLY = (
    goes_only_with("engine", ("eager",), f"{HOOKS} a compiled or exported denoiser"),
    goes_only_with("vae_engine", ("eager",), f"{HOOKS} a compiled or exported decoder"),
    goes_only_with("text_encoder_engine", ("eager",), f"{HOOKS} compiled or exported encoders"),
)
"""Of placements whose hooks stand inside the models."""

WHOLE_MODELS = (
    goes_only_with(
        "engine",
        ("eager", "compile-regional", "compile-default", "compile-max-autotune-no-cudagraphs"),
        f"{HOOKS} CUDA graphs and of exported denoisers",
    ),
    goes_only_with("vae_engine", ("eager", "compile"), f"{HOOKS} an exported decoder"),
    goes_only_with("text_encoder_engine", ("eager", "compile"), f"{HOOKS} exported encoders"),
)
"""Of placements whose hooks stand around the models."""


@need("a pipeline that says in which order its models are called")
def offload_sequence(context: Context) -> str | None:
    if context.spec.offloads:
        return None
    return f"{context.spec.class_name} does not say in which order its models are called"


def placement_effect(build: Build, choice: str) -> str | None:
    """Each model must have the hook of accelerate that brings it to the device, or its layers."""
    hook_name = {"model-offload": "CpuOffload", "sequential-offload": "AlignDevicesHook"}[choice]
    for name, model in build.models().items():
        hooks = [getattr(part, "_hf_hook", None) for part in model.modules()]
        if hook_name not in {type(hook).__name__ for hook in hooks}:
            return f"no {hook_name} of accelerate stands on {name}"
    return None


@knob(
    Stage.PLACEMENT,
    choices=(
        Choice("device"),
        Choice(
            "model-offload",
            need=every(accelerator("model offload"), offload_sequence),
            conflicts=WHOLE_MODELS,
        ),
        Choice(
            "sequential-offload",
            need=accelerator("sequential offload"),
            conflicts=(
                *EAGER_ONLY,
                Conflict(
                    "memory_format",
                    ("channels_last",),
                    "the weights lie apart from the layers, which hold none to be reordered",
                ),
            ),
        ),
    ),
    effect=placement_effect,
)
def placement(build: Build, choice: str) -> None:
    """Models kept on the host and brought to the device to be called: each whole, or its layers."""
    if choice == "model-offload":
        build.pipe.enable_model_cpu_offload(device=build.device)
    else:
        build.pipe.enable_sequential_cpu_offload(device=build.device)
    build.placed = True
