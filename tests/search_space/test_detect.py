from __future__ import annotations

import json
import platform
from dataclasses import asdict

import pytest
import torch

from search_space.detect import KINDS, detect
from search_space.errors import UsageError
from search_space.machine import Machine
from search_space.space import all_probes


@pytest.fixture(scope="module")
def here() -> Machine:
    return detect("cpu", all_probes())


def test_this_computer_is_described_in_plain_json(here):
    assert Machine.from_json(json.loads(json.dumps(asdict(here)))) == here


def test_the_processor_and_its_memory_are_known(here):
    assert here.device == "cpu"
    assert here.device_name
    assert here.cores >= 1
    assert here.device_bytes == here.host_bytes > 2**29
    assert here.system == f"{platform.system()} {platform.machine()}"
    assert here.native_dtypes[0] == "fp32"
    assert set(here.native_dtypes) <= {"fp32", "bf16", "fp16"}


def test_the_versions_that_matter_are_known(here):
    assert here.packages["python"] == platform.python_version()
    assert torch.__version__.startswith(here.packages["torch"].split("+")[0])
    assert {"diffusers", "transformers", "onnxruntime"} <= set(here.packages)


def test_every_probe_was_tried_and_answers_none_or_a_sentence(here):
    assert set(here.probes) == set(all_probes())
    assert here.probes["CPUExecutionProvider"] is None
    answers = [answer for answer in here.probes.values() if answer is not None]
    assert all(answer.strip() and "\n" not in answer for answer in answers)


def test_a_probe_is_told_the_device(here):
    found = detect("cpu", {"one": lambda device: f"tried on {device}", "two": lambda device: None})
    assert found.probes == {"one": "tried on cpu", "two": None}
    assert found.fingerprint == here.fingerprint


def test_without_a_wish_a_device_that_works_is_taken():
    assert detect(None, {}).device in KINDS


@pytest.mark.parametrize("device", ["tpu", "cuda:7"])
def test_an_unknown_device_is_answered_with_those_there_are(device):
    with pytest.raises(UsageError) as caught:
        detect(device, {})
    assert str(caught.value) == (
        f"the device {device!r} cannot be used: there are cuda, xpu, hpu, mps, cpu"
    )


@pytest.mark.parametrize("device", [kind for kind in KINDS if kind != "cpu"])
def test_a_device_that_is_not_there_is_one_line(device):
    module = torch.backends.mps if device == "mps" else getattr(torch, device, None)
    if module is not None and module.is_available():
        pytest.skip(f"there is a {device} device")
    with pytest.raises(UsageError) as caught:
        detect(device, {})
    assert str(caught.value) == (
        f"the device {device!r} cannot be used: "
        f"this build of torch ({torch.__version__}) finds no {device} device"
    )
