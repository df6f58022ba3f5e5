"""Without a budget of the user's, what is free on the device is the budget."""

from __future__ import annotations

from dataclasses import replace

from search_space.budget import Budget
from tests.tuner.simulation import GIB, context
from tuner.discovery.free_memory import STEP_BYTES, within_free_memory
from tuner.measuring.memory.limits import free_host_bytes


def test_on_a_cpu_it_is_what_is_free_of_the_host_in_halves_of_a_gib():
    budget, sentence = within_free_memory(None, context().machine, Budget(host_bytes=9 * GIB))
    assert budget.memory_bytes % STEP_BYTES == 0
    assert 0 < budget.memory_bytes <= max(free_host_bytes(), STEP_BYTES)
    assert budget.host_bytes == 9 * GIB
    assert "what is free of the host" in sentence
    assert "--memory" in sentence


def test_on_a_device_that_does_not_tell_it_is_the_devices_size_less_headroom():
    machine = replace(context("mps").machine, device_bytes=16 * GIB)
    budget, _ = within_free_memory(None, machine, Budget())
    assert budget.memory_bytes == 15 * GIB


def test_what_the_user_gives_stands():
    assert within_free_memory(None, context().machine, Budget(GIB)) == (Budget(GIB), "")
