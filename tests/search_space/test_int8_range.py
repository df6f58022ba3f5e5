"""Products of 8-bit numbers on CPUs that saturate their sums, and on others."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from search_space.build import Build
from search_space.construct import construct, no_effect
from search_space.hardware.detect import detect, int8_saturates
from search_space.knob import Tier
from search_space.space import Space
from tests.search_space.choices import LEAST_DB
from tests.tuner.drawing import drawn
from tuner.measuring.fidelity.metrics import images_of, noise_in_float32, psnr_db
from tuner.report.knobs import all_choices, knobs_json, knobs_text

CALL = {"prompt": "a horse", "height": 64, "width": 64, "num_inference_steps": 2}
NOTE = "in the reduced range (7 bits), as this CPU has no VNNI"
IN_7_BITS = {
    ("quantization", "torchao-int8-dynamic"),
    ("engine", "onnxruntime-int8-dynamic"),
    ("engine", "onnxruntime-int8"),
    ("engine", "openvino-int8"),
    ("vae_engine", "onnxruntime-int8"),
    ("vae_engine", "openvino-int8"),
    ("text_encoder_engine", "onnxruntime-int8-dynamic"),
}

# What diffusers does with tensors, torch.onnx with pytrees, and OpenVINO with torch.jit.
warns = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::torch.jit.TracerWarning"
)


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has torch and the system describe a CPU with these of its flags, and no others."""

    def described(architecture: str = "x86_64", *flags: str) -> None:
        known = dict.fromkeys(("avx512_vnni", "avx_vnni"), False) | dict.fromkeys(flags, True)
        monkeypatch.setattr(platform, "machine", lambda: architecture)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
        monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: known["avx512_vnni"])

    return described


@pytest.mark.parametrize(
    ("architecture", "flags", "saturates"),
    [
        ("x86_64", (), True),
        ("AMD64", (), True),
        ("x86_64", ("avx512_vnni",), False),
        ("x86_64", ("avx_vnni",), False),
        ("arm64", (), False),
        ("aarch64", (), False),
    ],
)
def test_x86_saturates_without_vnni(architecture, flags, saturates, cpu):
    cpu(architecture, *flags)
    assert int8_saturates("cpu") is saturates
    assert detect("cpu").int8_saturates is saturates
    assert not int8_saturates("cuda")


def test_a_cpu_that_saturates_is_other_hardware(describe_machine):
    machine = describe_machine("cpu")
    assert replace(machine, int8_saturates=True).fingerprint != machine.fingerprint


@pytest.mark.parametrize("saturates", [True, False])
def test_choices_in_7_bits_say_so_where_they_are(saturates, describe):
    listed = knobs_json(Space(replace(describe(int8_saturates=saturates), quality=Tier.LOSSY)))
    notes = {
        (knob["name"], choice["value"]): choice["note"]
        for knob in listed
        for choice in knob["choices"]
        if choice["note"]
    }
    assert notes == (dict.fromkeys(IN_7_BITS, NOTE) if saturates else {})


@pytest.mark.parametrize("shown", [knobs_text, all_choices])
def test_what_is_shown_of_the_knobs_says_so_too(shown, describe):
    space = Space(replace(describe(int8_saturates=True), quality=Tier.LOSSY))
    assert NOTE in drawn(shown(space))
    assert NOTE not in drawn(shown(Space(describe(int8_saturates=False))))


@pytest.fixture
def decoded(
    reference_folder: Callable[[str], Path], tmp_path: Path
) -> Iterator[Callable[[dict[str, str]], np.ndarray]]:
    """The images of a pipeline with a config; the cache is one for all calls."""

    def images(config: dict[str, str]) -> np.ndarray:
        folder, call = str(reference_folder("sd3-tiny")), {**CALL, "output_type": "np"}
        build = Build(folder, "cpu", call, tmp_path)
        construct(build, config).set_progress_bar_config(disable=True)
        with noise_in_float32(build.pipe):
            made = build.pipe(**build.call, generator=torch.Generator().manual_seed(0))
        assert no_effect(build, config) is None
        return images_of(made)

    yield images


@warns
@pytest.mark.parametrize("value", ["onnxruntime-int8", "openvino-int8"])
def test_a_decoder_in_7_bits_keeps_the_image_and_is_kept_apart(value, decoded, cpu, tmp_path):
    pytest.importorskip("nncf" if value == "openvino-int8" else "onnxruntime")
    exact = decoded({})
    # On a CPU that does not saturate both are made.
    decoded({"vae_engine": value})
    full = [path.name for path in tmp_path.glob("*/*-int8-*")]
    assert ["-narrow" in name for name in full] == [int8_saturates("cpu")]
    cpu("x86_64")
    assert psnr_db(decoded({"vae_engine": value}), exact) >= LEAST_DB[Tier.NEAR]
    narrow = {path.name for path in tmp_path.glob("*/*-int8-all-narrow-*")}
    assert len(narrow) == 1
    assert {path.name for path in tmp_path.glob("*/*-int8-*")} == {*full, *narrow}
