from __future__ import annotations

from pathlib import Path

import pytest
import torch

from search_space.budget import Budget
from search_space.hardware.detect import usable_host_bytes
from tuner.measuring.memory.device import COUNTERS, Counters, DeviceMemory, DeviceReading
from tuner.measuring.memory.gauge import highest, most_kept
from tuner.measuring.memory.host import HostReading, parse_status
from tuner.measuring.memory.limits import STOP, STOP_SLACK_BYTES, file_bytes, fraction, stop_bytes

MIB = 2**20
GIB = 2**30


def account(anonymous, files, swapped=0, highest_bytes=None):
    resident = anonymous + files
    return HostReading(highest_bytes or resident, resident, files, swapped)


def test_a_status_is_read_in_bytes():
    text = "Name:\tx\nVmHWM:\t 30 kB\nVmRSS:\t 20 kB\nRssFile:\t 5 kB\nVmSwap:\t 2 kB\n"
    assert parse_status(text) == HostReading(30 * 1024, 20 * 1024, 5 * 1024, 2 * 1024)
    assert parse_status(text).kept_bytes == 17 * 1024


def test_no_reading_is_an_error_and_not_zero():
    with pytest.raises(RuntimeError, match="gives no VmHWM"):
        parse_status("Name:\tx\nVmRSS:\t 20 kB\n")


def test_a_spike_between_two_looks_is_in_the_highest():
    before, after = account(100, 50), account(100, 50, highest_bytes=650)
    assert most_kept(before, after, faulted_bytes=500) == 600


def test_files_that_come_between_two_looks_are_not_taken_for_a_spike():
    before, after = account(100, 50), account(110, 400, highest_bytes=510)
    assert most_kept(before, after, faulted_bytes=32) == 132


def test_files_that_go_between_two_looks_are_not_taken_for_a_spike():
    before, after = account(400, 575), account(402, 80, highest_bytes=994)
    assert most_kept(before, after, faulted_bytes=8) == 408


def test_a_spike_while_files_go_is_in_the_page_faults():
    before, after = account(100, 575), account(100, 80, highest_bytes=680)
    assert most_kept(before, after, faulted_bytes=500) == 600


def test_what_is_swapped_out_counts():
    before, after = account(500, 50), account(200, 50, swapped=300, highest_bytes=550)
    assert highest(before, after) == 850
    assert most_kept(before, after, faulted_bytes=0) == 500


def test_the_context_counts_beside_what_torch_has():
    reading = DeviceReading(used_bytes=3000, reserved_bytes=2000, highest_reserved_bytes=2500)
    assert reading.peak_bytes(idle_bytes=400, highest_used_bytes=0) == 2500 + 600


def test_what_other_processes_held_before_does_not_count():
    reading = DeviceReading(used_bytes=900, reserved_bytes=500, highest_reserved_bytes=500)
    assert reading.peak_bytes(idle_bytes=400, highest_used_bytes=900) == 500


def test_an_allocator_that_torch_does_not_see_is_in_the_samples():
    reading = DeviceReading(used_bytes=700, reserved_bytes=100, highest_reserved_bytes=200)
    assert reading.peak_bytes(idle_bytes=100, highest_used_bytes=5100) == 5000


def described(used):
    nothing = dict.fromkeys(("reserved", "highest_reserved", "reset"), lambda index: 0)
    return Counters("a described driver", used, **nothing, count=lambda: 2)


def test_of_several_devices_the_fullest_counts():
    memory = DeviceMemory(described(lambda index: [100, 300][index]), [10, 20])
    peak = memory.peak("load")
    assert (peak.place, peak.source, peak.peak_bytes) == ("device", "a described driver", 280)


def test_samples_hold_for_one_phase():
    now = [900, 0]
    memory = DeviceMemory(described(lambda index: now[index] or 1), [0, 0])
    memory.sample()
    now[0] = 50
    assert memory.peak("load").peak_bytes == 900
    memory.reset()
    assert memory.peak("steady").peak_bytes == 50


def test_a_driver_that_tells_nothing_is_an_error_and_not_zero():
    with pytest.raises(RuntimeError, match="a described driver gives no reading"):
        DeviceMemory(described(lambda index: 0), [0]).peak("load")


@pytest.mark.parametrize("kind", ["cuda", "xpu"])
def test_a_phase_may_begin_before_the_device_is_used(kind, monkeypatch):
    # The torch of these tests knows no such device, as any torch before it has started one.
    module, told = getattr(torch, kind), []
    monkeypatch.setattr(module, "reset_peak_memory_stats", told.append)
    memory = DeviceMemory(COUNTERS[kind](), [0])
    memory.reset()
    assert told == []
    assert not module.is_initialized()
    monkeypatch.setattr(module, "is_initialized", lambda: True)
    memory.reset()
    assert told == [0]


def test_the_host_alone_has_no_other_memory():
    assert DeviceMemory.of("cpu") is None
    assert set(COUNTERS) == {"cuda", "xpu", "mps", "hpu"}


def test_torch_gets_what_the_budget_leaves():
    assert fraction(8 * GIB, GIB // 2, 80 * GIB) == pytest.approx(7.5 / 80)
    assert fraction(100 * GIB, 0, 80 * GIB) == 1.0
    assert 0 < fraction(GIB, 2 * GIB, 80 * GIB) < 1e-5


def test_a_trial_is_stopped_far_over_the_budget_and_never_beyond_the_machine():
    assert stop_bytes(Budget(GIB), "cpu") == int(STOP * GIB) + STOP_SLACK_BYTES
    assert stop_bytes(Budget(2**50), "cpu") == usable_host_bytes()
    assert stop_bytes(Budget(GIB), "cuda") is None
    assert stop_bytes(Budget(GIB, GIB), "cuda") == int(STOP * GIB) + STOP_SLACK_BYTES


def test_the_weights_of_a_model_are_its_files(tmp_path: Path):
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "model.safetensors").write_bytes(b"x" * 70)
    (tmp_path / "model_index.json").write_text("{}")
    assert file_bytes(tmp_path) == 70
