from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from search_space.errors import UsageError
from search_space.hardware.detect import KINDS, absent_rocm, detect, unusable_ipex
from search_space.hardware.machine import Machine


@pytest.fixture(scope="module")
def here() -> Machine:
    return detect("cpu")


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


@pytest.mark.skipif(
    platform.machine() != "x86_64" or not Path("/proc/cpuinfo").exists(),
    reason="the flags of a CPU are read from Linux on x86-64",
)
def test_bf16_is_fast_where_the_flags_of_the_cpu_say_so(here):
    flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    assert ("bf16" in here.native_dtypes) == bool({"avx512_bf16", "amx_bf16"} & set(flags))


def test_the_versions_that_matter_are_known(here):
    assert here.packages["python"] == platform.python_version()
    assert torch.__version__.startswith(here.packages["torch"].split("+")[0])
    assert {"diffusers", "transformers", "onnxruntime"} <= set(here.packages)


def test_probes_are_left_to_processes_that_may_crash(here):
    assert here.probes == {}


def test_the_threads_that_torch_takes_are_known(here):
    assert here.threads == torch.get_num_threads()
    assert here.device_count == 1


def test_the_cores_are_those_that_this_process_may_use(here):
    if hasattr(os, "sched_getaffinity"):
        assert here.cores == len(os.sched_getaffinity(0))
    assert 1 <= here.cores <= os.cpu_count()


def test_a_build_of_torch_for_rocm_can_be_told_from_one_for_cuda(here, describe_machine):
    known = {"rocm": torch.version.hip, "cuda": torch.version.cuda}
    built_for = {name: version for name, version in known.items() if version}
    assert {name: here.packages[name] for name in known if name in here.packages} == built_for
    assert describe_machine("cuda", packages={"rocm": "7.0"}).rocm
    assert not describe_machine("cuda", packages={"cuda": "13.0"}).rocm


def test_without_a_gpu_of_amd_there_is_a_reason():
    if torch.version.hip is not None:
        pytest.skip("this build of torch is made for ROCm")
    assert absent_rocm() == f"this build of torch ({torch.__version__}) is not made for ROCm"


def test_intels_extension_is_no_matter_where_it_is_not_installed(here):
    assert unusable_ipex() is None
    assert "intel_extension_for_pytorch" not in sys.modules


def test_without_a_wish_a_device_that_works_is_taken():
    assert detect(None).device in KINDS


@pytest.mark.parametrize("device", ["tpu", "cuda:7"])
def test_an_unknown_device_is_answered_with_those_there_are(device):
    with pytest.raises(UsageError) as caught:
        detect(device)
    assert str(caught.value) == (
        f"the device {device!r} cannot be used: there are cuda, xpu, hpu, mps, cpu"
    )


@pytest.mark.parametrize("device", [kind for kind in KINDS if kind != "cpu"])
def test_a_device_that_is_not_there_is_one_line(device):
    module = torch.backends.mps if device == "mps" else getattr(torch, device, None)
    if module is not None and module.is_available():
        pytest.skip(f"there is a {device} device")
    with pytest.raises(UsageError) as caught:
        detect(device)
    assert str(caught.value) == (
        f"the device {device!r} cannot be used: "
        f"this build of torch ({torch.__version__}) finds no {device} device"
    )
