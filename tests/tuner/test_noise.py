from __future__ import annotations

import inspect
import mmap
import os
import subprocess
import sys
import time
from collections import namedtuple
from types import SimpleNamespace

import psutil
import pytest

from tuner.noise import (
    Counters,
    Guard,
    Reading,
    heat_counters,
    heat_throttles,
    powersave,
    quota_files,
    quota_throttles,
    seen_between,
    standing,
    taken_s,
)
from tuner.nvml import (
    POWER_CAP,
    SLOWDOWNS,
    UNWATCHED,
    GpuReading,
    GpuWatch,
    by_library,
    from_text,
    handle_of,
    seen_on_gpu,
    strangers,
)

BUSY = "import time; end = time.time() + 120\nwhile time.time() < end: pass"


def between(busy_s=0.0, ours_s=0.0, spent_s=10.0, cores=2, **counts):
    before = Reading(100.0, 5000.0, 300.0, 7, 9)
    heat, quota = counts.get("heat", 0), counts.get("quota", 0)
    after = Reading(100.0 + spent_s, 5000.0 + busy_s, 300.0 + ours_s, 7 + heat, 9 + quota)
    return {seen.kind: seen for seen in seen_between(before, after, cores)}


def test_what_the_run_itself_uses_is_no_neighbour():
    seen = between(busy_s=20.0, ours_s=19.9)["others_cores"]
    assert seen.value == pytest.approx(0.01)
    assert seen.complaint == ""


def test_a_neighbour_is_told_in_cores():
    seen = between(busy_s=19.0, ours_s=10.0)["others_cores"]
    assert seen.value == pytest.approx(0.9)
    assert seen.complaint == "other processes took 0.9 cores"


def test_a_large_machine_bears_a_little_more():
    assert between(busy_s=5.0, cores=2)["others_cores"].complaint
    assert not between(busy_s=5.0, cores=64)["others_cores"].complaint
    assert between(busy_s=7.0, cores=64)["others_cores"].complaint


def test_a_tick_of_the_kernel_is_no_neighbour():
    assert not between(busy_s=0.02, spent_s=0.05)["others_cores"].complaint
    assert between(busy_s=0.05, spent_s=0.05)["others_cores"].complaint


def test_more_of_ours_than_was_seen_busy_is_rounding():
    assert between(busy_s=1.0, ours_s=1.1)["others_cores"].value == 0.0


def test_heat_disturbs_and_a_quota_is_only_kept():
    seen = between(heat=2, quota=3)
    assert (seen["heat_throttles"].value, seen["quota_throttles"].value) == (2, 3)
    assert seen["heat_throttles"].complaint
    assert not seen["quota_throttles"].complaint
    assert set(between()) == {"others_cores"}


def test_stolen_time_is_taken_and_guests_are_not_counted_twice():
    core = namedtuple("core", "user system idle iowait steal guest")(5.0, 2.0, 90.0, 3.0, 4.0, 1.0)
    assert taken_s(core) == 11.0


@pytest.fixture
def busy():
    started = []

    def start(detached):
        if not detached:
            started.append(psutil.Popen([sys.executable, "-c", BUSY]))
            return
        command = '"$0" -c "$1" >/dev/null 2>&1 & echo $!'
        arguments = ["sh", "-c", command, sys.executable, BUSY]
        started.append(psutil.Process(int(subprocess.check_output(arguments, text=True))))

    yield start
    for process in started:
        process.kill()
        process.wait()


def used(spent_s=1.0):
    counters = Counters(os.getpid())
    before = counters.read()
    time.sleep(spent_s)
    after = counters.read()
    return after.busy_s - before.busy_s, after.ours_s - before.ours_s


def test_a_process_of_the_run_is_counted_as_ours(busy):
    busy(detached=False)
    time.sleep(0.3)
    _, ours_s = used()
    assert ours_s > 0.1


@pytest.mark.slow  # Other tests beside it are such neighbours.
@pytest.mark.skipif(sys.platform != "linux", reason="a process leaves its parent by sh here")
def test_a_process_of_another_family_is_not(busy):
    busy(detached=True)
    time.sleep(0.3)
    busy_s, ours_s = used()
    assert ours_s < 0.1
    assert busy_s - ours_s > 0.1


def test_a_process_that_ends_stays_ours():
    counters = Counters(os.getpid())
    code = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    before = counters.read()
    subprocess.run([sys.executable, "-c", code], check=True)
    assert counters.read().ours_s - before.ours_s > 0.25


@pytest.mark.slow  # Other tests beside it are such neighbours.
@pytest.mark.skipif(sys.platform != "linux", reason="a process leaves its parent by sh here")
def test_a_guard_sees_a_neighbour_and_does_not_wait_for_ever(busy, monkeypatch):
    monkeypatch.setenv("TUNE_CONTROLLER_PID", str(os.getpid()))
    busy(detached=True)
    time.sleep(0.3)
    guard = Guard("cpu")
    guard.begin()
    time.sleep(0.5)
    (seen,) = [found for found in guard.end() if found.kind == "others_cores"]
    assert seen.complaint.startswith("other processes took ")
    began_s = time.monotonic()
    assert not guard.calm()
    assert 2.9 < time.monotonic() - began_s < 10.0
    began_s = time.monotonic()
    assert not guard.calm()
    assert time.monotonic() - began_s < 0.9


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere pages are of another size")
def test_a_guard_counts_the_pages_that_a_call_was_given():
    guard = Guard("cpu")
    guard.begin()
    with mmap.mmap(-1, 2**23) as pages:
        pages.madvise(mmap.MADV_NOHUGEPAGE)
        pages.write(b"x" * 2**23)
        (found,) = [seen for seen in guard.end() if seen.kind == "page_faults"]
    assert found.value >= 2**23 / mmap.PAGESIZE
    assert found.complaint == ""


def test_what_stands_for_the_whole_trial_names_no_sample():
    seen = standing()
    assert {found.sample for found in seen} == {""}
    assert "load_average" in {found.kind for found in seen}


def test_a_governor_that_saves_power_is_told_from_a_driver_that_scales(tmp_path):
    (tmp_path / "scaling_governor").write_text("powersave\n")
    for driver, saves in {"acpi-cpufreq": True, "intel_pstate": False}.items():
        (tmp_path / "scaling_driver").write_text(driver)
        assert powersave(tmp_path) is saves
    assert not powersave(tmp_path / "nowhere")


def test_heat_is_summed_over_cores(tmp_path):
    for core, count in (("cpu0", "3"), ("cpu1", "4")):
        folder = tmp_path / core / "thermal_throttle"
        folder.mkdir(parents=True)
        (folder / "core_throttle_count").write_text(count)
    (tmp_path / "cpuidle").mkdir()
    assert heat_throttles(heat_counters(tmp_path)) == 7
    assert heat_throttles(heat_counters(tmp_path / "nowhere")) == 0


@pytest.mark.parametrize(
    ("line", "folder"),
    [
        ("0::/user.slice/tune", "user.slice/tune"),
        ("0::/", ""),
        ("4:cpu,cpuacct:/docker/1", "cpu,cpuacct/docker/1"),
        ("1:cpu:/", "cpu"),
    ],
)
def test_the_quota_is_that_of_the_own_group(tmp_path, line, folder):
    groups = tmp_path / "cgroup"
    groups.write_text(f"9:memory:/elsewhere\n{line}\n")
    place = tmp_path / "system" / folder
    place.mkdir(parents=True)
    (place / "cpu.stat").write_text("nr_periods 10\nnr_throttled 4\nthrottled_usec 100\n")
    assert quota_throttles(quota_files(groups, tmp_path / "system")) == 4
    assert quota_throttles(quota_files(tmp_path / "nowhere", tmp_path / "system")) == 0


def look(pids=(7,), reasons=0, clock=1980, heat=54):
    return GpuReading(frozenset(pids), reasons, clock, heat)


def on_gpu(*readings, ours=(7,)):
    return {seen.kind: seen for seen in seen_on_gpu(readings, frozenset(ours))}


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
