"""What is seen of a GPU beside a call, from described readings."""

from __future__ import annotations

import inspect
import os
from types import SimpleNamespace

import pytest

from tuner.measuring.noise.nvml import (
    POWER_CAP,
    SLOWDOWNS,
    UNWATCHED,
    GpuReading,
    GpuWatch,
    by_library,
    from_text,
    gpu_conditions,
    handle_of,
    strangers,
)


def look(pids=(7,), reasons=0, clock=1980, heat=54):
    return GpuReading(frozenset(pids), reasons, clock, heat)


def on_gpu(*readings, ours=(7,)):
    return {seen.kind: seen for seen in gpu_conditions(readings, frozenset(ours))}


def test_a_power_cap_is_kept_and_slowdowns_disturb():
    capped = on_gpu(look(reasons=0x4), look(reasons=0x1))
    assert capped["gpu_power_capped"].value == 1.0
    assert not any(seen.complaint for seen in capped.values())
    hot = on_gpu(look(), look(reasons=0x40 | 0x4))
    assert hot["gpu_clock_reasons"].complaint == "the GPU was slowed down by heat, by the hardware"
    for bit in (0x8, 0x20, 0x80):
        assert on_gpu(look(reasons=bit))["gpu_clock_reasons"].complaint


def test_the_lowest_clock_and_the_highest_temperature_are_kept():
    seen = on_gpu(look(clock=1980, heat=54), look(clock=1200, heat=81))
    assert seen["gpu_sm_clock_mhz"].value == 1200
    assert seen["gpu_temperature_c"].value == 81
    assert on_gpu() == {}


def test_others_on_the_gpu_disturb_also_where_we_do_not_know_our_own_number():
    assert on_gpu(look(pids=(7, 8)))["gpu_others"].complaint
    assert not on_gpu(look(pids=(7,)))["gpu_others"].complaint
    assert strangers(frozenset((4001,)), frozenset((7,))) == 0
    assert strangers(frozenset((4001, 4002)), frozenset((7,))) == 1
    assert strangers(frozenset(), frozenset((7,))) == 0


def test_what_nvidia_smi_prints_is_a_reading():
    assert from_text("123\n456\n", "0x0000000000000044, 1410, 61\n") == GpuReading(
        frozenset((123, 456)), 0x44, 1410, 61
    )
    assert from_text("", "0x0000000000000001, 210, 30\n").pids == frozenset()


def test_nvml_takes_what_it_is_given():
    nvml = pytest.importorskip("pynvml")
    assert (nvml.NVML_CLOCK_SM, nvml.NVML_TEMPERATURE_GPU) == (1, 0)
    for name, given in {
        "nvmlInit": (),
        "nvmlDeviceGetHandleByIndex": (0,),
        "nvmlDeviceGetHandleByUUID": ("GPU-1",),
        "nvmlDeviceGetComputeRunningProcesses": ("handle",),
        "nvmlDeviceGetCurrentClocksEventReasons": ("handle",),
        "nvmlDeviceGetClockInfo": ("handle", nvml.NVML_CLOCK_SM),
        "nvmlDeviceGetTemperature": ("handle", nvml.NVML_TEMPERATURE_GPU),
    }.items():
        inspect.signature(getattr(nvml, name)).bind(*given)
    assert nvml.nvmlClocksEventReasonSwPowerCap == POWER_CAP
    named = ("HwSlowdown", "SwThermalSlowdown", "HwThermalSlowdown", "HwPowerBrakeSlowdown")
    bits = [getattr(nvml, f"nvmlClocksEventReason{name}") for name in named]
    assert bits == list(SLOWDOWNS)


def test_a_look_by_nvml():
    described = SimpleNamespace(
        NVML_CLOCK_SM=1,
        NVML_TEMPERATURE_GPU=0,
        nvmlDeviceGetHandleByIndex=lambda index: f"handle {index}",
        nvmlDeviceGetHandleByUUID=lambda name: f"handle {name}",
        nvmlDeviceGetComputeRunningProcesses=lambda handle: [SimpleNamespace(pid=123)],
        nvmlDeviceGetCurrentClocksEventReasons=lambda handle: 0x4,
        nvmlDeviceGetClockInfo=lambda handle, kind: 1410 + kind,
        nvmlDeviceGetTemperature=lambda handle, sensor: 61 + sensor,
    )
    handle = handle_of(described, "1")
    assert (handle, handle_of(described, "GPU-1")) == ("handle 1", "handle GPU-1")
    assert by_library(described, handle) == GpuReading(frozenset((123,)), 0x4, 1411, 61)


def test_a_look_that_fails_fails_nothing():
    def failing():
        raise OSError("the driver does not answer")

    watch = GpuWatch("cuda", failing)
    watch.begin()
    assert watch.end() == UNWATCHED


def test_a_gpu_is_looked_at_when_a_call_has_ended():
    watch = GpuWatch("cuda", lambda: GpuReading(frozenset((os.getpid(), 1)), 0, 1410, 61))
    watch.begin()
    others = next(seen for seen in watch.end() if seen.kind == "gpu_others")
    assert (others.value, others.complaint) == (1, "1 other processes were on the GPU")
    assert GpuWatch("cpu").end() == ()
