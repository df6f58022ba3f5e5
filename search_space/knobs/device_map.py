"""The models spread over the devices that there are."""

from __future__ import annotations

from search_space.build import Build
from search_space.knob import Choice, Context, Stage, goes_only_with, knob
from search_space.needs import accelerator, every, need


@need("more than one device")
def several_devices(context: Context) -> str | None:
    if context.machine.device_count > 1:
        return None
    return f"there is one {context.machine.device} device, nothing to spread models over"


def device_map_effect(build: Build, choice: str) -> str | None:
    device_of = build.pipe.hf_device_map
    unplaced = [name for name in build.models() if name not in (device_of or {})]
    return f"{', '.join(unplaced)} is on no device of the map" if unplaced else None


@knob(
    Stage.LOAD,
    choices=(
        Choice("none"),
        Choice(
            "balanced",
            need=every(accelerator("a device map"), several_devices),
            conflicts=(
                goes_only_with("placement", ("device",), "each decides where the models are"),
                goes_only_with(
                    "engine",
                    ("eager", "compile-regional"),
                    "hooks on the denoiser carry its inputs from device to device",
                ),
                goes_only_with(
                    "vae_engine",
                    ("eager", "compile"),
                    "hooks on the VAE carry its inputs from device to device",
                ),
                goes_only_with(
                    "text_encoder_engine",
                    ("eager",),
                    "hooks on the text encoders carry their inputs from device to device",
                ),
            ),
        ),
    ),
    effect=device_map_effect,
)
def device_map(build: Build, choice: str) -> None:
    """Each model loaded straight to one of several devices, the largest to the freest."""
    build.load["device_map"] = choice
    build.placed = True
