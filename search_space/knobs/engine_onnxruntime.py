"""ONNX Runtime in the place of the denoiser, the VAE's decoder and the text encoders."""

from __future__ import annotations

from collections.abc import Callable

from search_space.build import Build
from search_space.knob import (
    Choice,
    Conflict,
    Context,
    Effect,
    Need,
    Tier,
    more_choices,
    nothing,
)
from search_space.needs import amd, device, every, need, nvidia, probe, seven_bits
from search_space.runtimes.onnx import DEVICE_PROVIDERS, ONNXRUNTIME, run_by_onnxruntime
from search_space.shapes import Shapes

PRECISION = (
    Conflict("precision", ("bf16",), "ONNX Runtime has no bfloat16 convolutions"),
    Conflict(
        "precision",
        ("fp16",),
        "ONNX Runtime computes float16 as float32 on a CPU",
        where=device("cpu"),
    ),
)

WHEELS = {
    "CPUExecutionProvider": "onnxruntime",
    "CUDAExecutionProvider": "onnxruntime-gpu",
    "TensorrtExecutionProvider": "onnxruntime-gpu",
    "MIGraphXExecutionProvider": "onnxruntime-migraphx",
    "OpenVINOExecutionProvider": "onnxruntime-openvino",
    "CoreMLExecutionProvider": "onnxruntime",
    "DmlExecutionProvider": "onnxruntime-directml",
}
"""The package whose build of ONNX Runtime has each execution provider."""


PACKAGES = (*dict.fromkeys(WHEELS.values()), "onnx", "onnxscript")
"""What runs and exports a graph; one of the builds is there."""


@need(
    "an execution provider for the device",
    packages=PACKAGES,
    probes=[DEVICE_PROVIDERS["cpu"], DEVICE_PROVIDERS["cuda"]],
)
def provider_available(context: Context) -> str | None:
    kind = context.machine.device
    if kind not in DEVICE_PROVIDERS:
        return f"no execution provider of ONNX Runtime is made for {kind}"
    return probe(DEVICE_PROVIDERS[kind])(context)


# A second one may take over at a later step, and has then not been recorded.
@need("a single denoiser")
def one_denoiser(context: Context) -> str | None:
    if len(context.spec.denoisers) > 1:
        return "only pipelines with one denoiser are exported yet"
    return None


def on_system(name: str, called: str, what: str) -> Need:
    """The system whose kernel has that name, which is ``called`` otherwise."""

    @need(called)
    def right_system(context: Context) -> str | None:
        system = context.machine.system
        return None if system.startswith(name) else f"{what} is not there on {system}"

    return right_system


def provider_probe(provider: str) -> Callable[[str, int], str | None]:
    """A probe that has a provider add two numbers: a build may name one that it cannot load."""

    def provider_works(device_name: str, head_size: int) -> str | None:
        import onnxruntime
        from onnx import TensorProto, helper

        if provider not in onnxruntime.get_available_providers():
            wheel = WHEELS[provider]
            return f"the installed onnxruntime has no {provider}: pip install {wheel}"
        value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
        nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
        graph = helper.make_graph(nodes, "sum", value[:1], value[1:])
        opset = [helper.make_opsetid("", 20)]
        # onnx writes a newer form than older builds of ONNX Runtime read.
        model = helper.make_model(graph, opset_imports=opset, ir_version=10)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=[provider])
        first = session.get_providers()[0]
        return None if first == provider else f"ONNX Runtime takes {first} for {provider}"

    return provider_works


def sessions_effect(part: str) -> Effect:
    """The provider asked for must run every session: ONNX Runtime falls back without a word."""

    def effect(build: Build, choice: str) -> str | None:
        runtime = ONNXRUNTIME[choice]
        providers = build.evidence.get("providers", {})
        for entry in build.entries(part):
            running = providers.get(entry.name, ["PyTorch"])
            if runtime.provider_on(build.device) not in running:
                return f"{entry.name} runs on {', '.join(running)}"
            if runtime.quantized and not build.evidence["quantized"][entry.name]:
                return f"no operator of {entry.name} is quantized"
        return None

    return effect


def provider_works(name: str) -> Need:
    return probe(ONNXRUNTIME[f"onnxruntime-{name}"].provider, *PACKAGES)


def providers(*more: Need) -> tuple[Choice, ...]:
    """One choice for the device's own provider and for each that must be asked for."""
    needs = {
        "tensorrt": nvidia("TensorRT"),
        "migraphx": amd("MIGraphX"),
        "coreml": every(
            device("mps", "cpu", what="Core ML"), on_system("Darwin", "macOS", "Core ML")
        ),
        "directml": every(
            device("cpu", what="DirectML"), on_system("Windows", "Windows", "DirectML")
        ),
    }
    unverified = [
        Choice(
            f"onnxruntime-{name}", every(*more, needed, provider_works(name)), Tier.NEAR, run_on=()
        )
        for name, needed in needs.items()
    ]
    host = device("cpu", what="OpenVINO by ONNX Runtime")
    return (
        Choice("onnxruntime", every(*more, provider_available), Tier.LOSSLESS),
        Choice(
            "onnxruntime-openvino", every(*more, host, provider_works("openvino")), Tier.LOSSLESS
        ),
        *unverified,
    )


def int8(name: str, tier: Tier, *more: Need) -> Choice:
    """A choice whose products are in int8, for which ONNX Runtime has fast kernels on a CPU."""
    on_cpu = device("cpu", what="a product of int8 matrices by ONNX Runtime")
    note = nothing if name.endswith("-weights") else seven_bits
    return Choice(name, every(*more, on_cpu, provider_available), tier, note=note)


PROBES = {provider: provider_probe(provider) for provider in WHEELS}


@more_choices(
    "engine",
    choices=(
        *providers(one_denoiser),
        int8("onnxruntime-int8-weights", Tier.NEAR, one_denoiser),
        int8("onnxruntime-int8-dynamic", Tier.NEAR, one_denoiser),
        int8("onnxruntime-int8", Tier.NEAR, one_denoiser),
    ),
    effect=sessions_effect("engine"),
    conflicts=PRECISION,
    probes=PROBES,
    run_on=("cpu",),
    shapes=Shapes.FIXED,
)
def onnxruntime(build: Build, choice: str) -> None:
    """The denoiser exported for the shapes of this workload and run by ONNX Runtime.

    On the provider of the device or on another; with weights in int8; or with the inputs of linear
    layers in int8 too, by ranges found in each call (dynamic), or those of convolutions as well, by
    ranges that the denoiser had in the baseline.
    """
    run_by_onnxruntime(build, "engine", choice)


@more_choices(
    "vae_engine",
    choices=(*providers(), int8("onnxruntime-int8", Tier.NEAR)),
    effect=sessions_effect("vae_engine"),
    conflicts=PRECISION,
    run_on=("cpu",),
    shapes=Shapes.FIXED,
)
def onnxruntime_vae(build: Build, choice: str) -> None:
    """The VAE's decoder exported for the shapes of this workload and run by ONNX Runtime.

    On the provider of the device or on another; or in int8, by the ranges of one call.
    """
    run_by_onnxruntime(build, "vae_engine", choice)


@more_choices(
    "text_encoder_engine",
    choices=(
        *providers(),
        int8("onnxruntime-int8-weights", Tier.NEAR),
        int8("onnxruntime-int8-dynamic", Tier.NEAR),
    ),
    effect=sessions_effect("text_encoder_engine"),
    conflicts=PRECISION,
    run_on=("cpu",),
    shapes=Shapes.FIXED,
)
def onnxruntime_text_encoder(build: Build, choice: str) -> None:
    """The text encoders exported for the length of the prompt and run by ONNX Runtime.

    On the provider of the device or on another; with weights in int8; or with the inputs of linear
    layers in int8 too.
    """
    run_by_onnxruntime(build, "text_encoder_engine", choice)
