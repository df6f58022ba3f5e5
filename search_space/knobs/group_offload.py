"""Group offload: the models kept on the host, groups of their layers brought to the device."""

from __future__ import annotations

from search_space.build import Build
from search_space.knob import Choice, Conflict, Context, goes_only_with, more_choices
from search_space.knobs.placement import EAGER_ONLY, HOOKS
from search_space.needs import accelerator, device, every, need

PREFETCHED = "group-offload-leaf-stream"


@need("models that allow group offload")
def grouped(context: Context) -> str | None:
    spec = context.spec
    for part in (*spec.denoisers, *([spec.vae] if spec.vae else [])):
        if not part.groups_offload:
            return f"{part.class_name} does not allow group offload"
    return None


# Of transformers the blocks that repeat are those that are moved, of UNets others are.
@need("a transformer as denoiser")
def hooks_in_blocks(context: Context) -> str | None:
    unets = ["UNet" in part.class_name for part in context.spec.denoisers]
    return "the denoiser is a UNet, of which other blocks are moved" if all(unets) else None


def group_offload_effect(build: Build, choice: str) -> str | None:
    """Layers of each model must have the hooks of diffusers, of the kind that was asked for."""
    for name, model in {**build.models(), **build.text_encoders()}.items():
        registries = [getattr(part, "_diffusers_hook", None) for part in model.modules()]
        present = [registry for registry in registries if registry is not None]
        hooks = [hook for each in present if (hook := each.get_hook("group_offloading"))]
        if not hooks:
            return f"nothing moves the layers of {name}"
        by_block = hooks[0].config.offload_type.value == "block_level"
        if name in build.denoisers() and by_block != choice.endswith("block"):
            return f"{name} is moved at {hooks[0].config.offload_type.value.replace('_', ' ')}"
        if (hooks[0].config.stream is not None) != (choice == PREFETCHED):
            return f"{name} is moved on {'a' if hooks[0].config.stream else 'no'} stream of its own"
    return None


@more_choices(
    "placement",
    choices=(
        Choice(
            "group-offload-block",
            need=every(accelerator("group offload"), grouped),
            conflicts=(
                goes_only_with(
                    "engine",
                    ("eager", "compile-regional"),
                    f"{HOOKS} a denoiser compiled whole or exported",
                ),
                Conflict(
                    "engine",
                    ("compile-regional",),
                    f"{HOOKS} a compiled block",
                    where=hooks_in_blocks,
                ),
                *EAGER_ONLY[1:],
            ),
        ),
        Choice(
            "group-offload-leaf",
            need=every(accelerator("group offload"), grouped),
            conflicts=EAGER_ONLY,
        ),
        Choice(
            PREFETCHED,
            need=every(device("cuda", "xpu", what="moving weights on a stream"), grouped),
            conflicts=(
                *EAGER_ONLY,
                Conflict(
                    "memory_format",
                    ("channels_last",),
                    "the weights are copied from pinned memory, in the order that they had there",
                ),
            ),
        ),
    ),
    effect=group_offload_effect,
)
def group_offload(build: Build, choice: str) -> None:
    """Blocks or single layers brought to the device to be called, ahead of time by a stream."""
    import torch

    onload, pipe = torch.device(build.device), build.pipe
    if choice != "group-offload-block":
        pipe.enable_group_offload(
            onload, offload_type="leaf_level", use_stream=choice == PREFETCHED
        )
    else:
        pipe.enable_group_offload(
            onload, offload_type="block_level", num_blocks_per_group=1, exclude_modules=["vae"]
        )
        # The hook on the whole VAE would wait for ``forward``, where pipelines call ``decode``.
        if vae := getattr(pipe, "vae", None):
            vae.enable_group_offload(onload, offload_type="leaf_level")
    build.placed = True
