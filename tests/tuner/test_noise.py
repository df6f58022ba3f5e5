from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time
from collections import namedtuple

import psutil
import pytest

from tests.tuner.trials import wait_until
from tuner.measuring.noise.guard import (
    Counters,
    Guard,
    Reading,
    conditions_between,
    core_busy_s,
    heat_counters,
    heat_throttles,
    powersave,
    quota_files,
    quota_throttles,
    trial_conditions,
)

BUSY = "import time; end = time.time() + 120\nwhile time.time() < end: pass"


def between(busy_s=0.0, ours_s=0.0, spent_s=10.0, cores=2, **counts):
    before = Reading(100.0, 5000.0, 300.0, 7, 9)
    heat, quota = counts.get("heat", 0), counts.get("quota", 0)
    after = Reading(100.0 + spent_s, 5000.0 + busy_s, 300.0 + ours_s, 7 + heat, 9 + quota)
    return {seen.kind: seen for seen in conditions_between(before, after, cores)}


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
    assert core_busy_s(core) == 11.0


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
    return after.busy_s - before.busy_s, after.own_s - before.own_s


def test_a_process_of_the_run_is_counted_as_ours(busy):
    busy(detached=False)
    wait_until(lambda: used()[1] > 0.1)


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
    assert counters.read().own_s - before.own_s > 0.25


@pytest.mark.slow  # Other tests beside it are such neighbours.
@pytest.mark.skipif(sys.platform != "linux", reason="a process leaves its parent by sh here")
def test_a_guard_sees_a_neighbour(busy, monkeypatch):
    monkeypatch.setenv("TUNE_CONTROLLER_PID", str(os.getpid()))
    busy(detached=True)
    time.sleep(0.3)
    guard = Guard("cpu")
    guard.begin()
    time.sleep(0.5)
    (seen,) = [found for found in guard.end() if found.kind == "others_cores"]
    assert seen.complaint.startswith("other processes took ")


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
    seen = trial_conditions()
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
