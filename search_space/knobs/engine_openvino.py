"""OpenVINO in the place of the denoiser, the VAE's decoder and the text encoders."""

from __future__ import annotations

from collections.abc import Callable

from search_space.build import Build
from search_space.knob import Choice, Conflict, Context, Effect, Need, Tier, more_choices
from search_space.needs import device, every, installed, need, probe, seven_bits
from search_space.runtimes.openvino import OPENVINO, run_by_openvino
from search_space.shapes import Shapes

OWN_PRECISION = (
    Conflict("precision", ("bf16", "fp16"), "OpenVINO computes in a precision of its own choice"),
)


def capability_probe(device_name: str, capability: str) -> Callable[[str, int], str | None]:
    """A probe for what one of OpenVINO's devices can do."""

    def probe(torch_device: str, head_size: int) -> str | None:
        import openvino

        core = openvino.Core()
        if device_name not in core.available_devices:
            return f"OpenVINO finds no {device_name}, only {', '.join(core.available_devices)}"
        if capability not in core.get_property(device_name, "OPTIMIZATION_CAPABILITIES"):
            return f"OpenVINO has no {capability} on this {device_name}"
        return None

    return probe


def runs_on(device_name: str, capability: str, *more: Need) -> Need:
    """OpenVINO must be installed and its device must have the arithmetic."""
    arithmetic = probe(f"OpenVINO {device_name} {capability}")
    return every(
        installed("openvino", "openvino"),
        device("cpu", what="OpenVINO, which takes its tensors from the host,"),
        *more,
        arithmetic,
    )


# A second one may take over at a later step, and has then not been recorded.
@need("a single denoiser")
def one_openvino_denoiser(context: Context) -> str | None:
    if len(context.spec.denoisers) > 1:
        return "only pipelines with one denoiser are converted yet"
    return None


def openvino_effect(part: str) -> Effect:
    """The compiled models must run where and as precisely as was asked."""

    def effect(build: Build, choice: str) -> str | None:
        mode = OPENVINO[choice]
        for entry in build.entries(part):
            facts = build.evidence.get("openvino", {}).get(entry.name)
            if facts is None:
                return f"{entry.name} runs on PyTorch"
            if facts["device"] != mode.device or mode.precision not in ("", facts["precision"]):
                return f"OpenVINO runs {entry.name} on {facts['device']} in {facts['precision']}"
            if mode.quantized and not facts["int8"]:
                return f"OpenVINO runs nothing of {entry.name} in int8"
        return None

    return effect


PROBES = {
    f"OpenVINO {name} {capability}": capability_probe(name, capability)
    for name, capability in (
        ("CPU", "FP32"),
        ("CPU", "BF16"),
        ("CPU", "INT8"),
        ("GPU", "FP16"),
        ("NPU", "FP16"),
    )
}


def floats(*more: Need) -> tuple[Choice, ...]:
    """The choices that quantize nothing."""
    return (
        Choice("openvino", runs_on("CPU", "FP32", *more), Tier.LOSSLESS),
        Choice("openvino-bf16", runs_on("CPU", "BF16", *more), Tier.NEAR),
        Choice("openvino-gpu", runs_on("GPU", "FP16", *more), Tier.NEAR, run_on=()),
        Choice("openvino-npu", runs_on("NPU", "FP16", *more), Tier.NEAR, run_on=()),
    )


NNCF = installed("nncf", "openvino")


@more_choices(
    "engine",
    choices=(
        *floats(one_openvino_denoiser),
        Choice(
            "openvino-int8-weights", runs_on("CPU", "INT8", one_openvino_denoiser, NNCF), Tier.NEAR
        ),
        Choice(
            "openvino-int8",
            runs_on("CPU", "INT8", one_openvino_denoiser, NNCF),
            # 19 dB on the tiny SDXL with random weights, 28 to 31 dB on the tiny others.
            Tier.LOSSY,
            note=seven_bits,
        ),
    ),
    effect=openvino_effect("engine"),
    conflicts=OWN_PRECISION,
    probes=PROBES,
    run_on=("cpu",),
    shapes=Shapes.FIXED,
)
def openvino(build: Build, choice: str) -> None:
    """The denoiser converted for the shapes of this workload and run by OpenVINO.

    In fp32, bf16 or fp16; with weights in int8; or with weights and activations in int8, calibrated
    on the inputs that the denoiser had in the baseline.
    """
    run_by_openvino(build, "engine", choice)


INT8_TILES = "OpenVINO does not compile a decoder in int8 that blends tiles"


@more_choices(
    "vae_engine",
    choices=(
        *floats(),
        Choice(
            "openvino-int8",
            runs_on("CPU", "INT8", NNCF),
            Tier.NEAR,
            conflicts=(Conflict("vae_tiling", ("on",), INT8_TILES),),
            note=seven_bits,
        ),
    ),
    effect=openvino_effect("vae_engine"),
    conflicts=OWN_PRECISION,
    run_on=("cpu",),
    shapes=Shapes.FIXED,
)
def openvino_vae(build: Build, choice: str) -> None:
    """The VAE's decoder converted for the shapes of this workload and run by OpenVINO.

    In fp32, bf16 or fp16; or with weights and activations in int8, by the ranges of one call.
    """
    run_by_openvino(build, "vae_engine", choice)


@more_choices(
    "text_encoder_engine",
    choices=(
        *floats(),
        Choice("openvino-int8-weights", runs_on("CPU", "INT8", NNCF), Tier.NEAR),
    ),
    effect=openvino_effect("text_encoder_engine"),
    conflicts=OWN_PRECISION,
    run_on=("cpu",),
    shapes=Shapes.FIXED,
)
def openvino_text_encoder(build: Build, choice: str) -> None:
    """The text encoders converted for the length of the prompt and run by OpenVINO.

    In fp32, bf16 or fp16; or with weights in int8.
    """
    run_by_openvino(build, "text_encoder_engine", choice)
