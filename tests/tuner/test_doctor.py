"""What would unlock more choices here, and what is told of store and machine."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from tests.machines import described
from tests.storage.versions import VERSION_5, store_of
from tests.tuner.drawing import drawn
from tests.tuner.simulation import context
from tuner.cli.doctor import store_state
from tuner.cli.main import main
from tuner.discovery.unlocking import unlocking
from tuner.report.doctor import StoreState, doctor_text


def without(*packages: str):
    """A machine that has everything but these."""
    machine = described("cpu")
    left = {name: one for name, one in machine.packages.items() if name not in packages}
    return replace(context(), machine=replace(machine, packages=left))


def test_a_package_unlocks_the_choices_that_lack_nothing_else():
    command = "pip install 'diffusers-autotune[quantization]'"
    assert command not in unlocking(without())
    waiting = unlocking(without("torchao"))
    choices = waiting[command]
    assert choices and all(choice.startswith("quantization=torchao") for choice in choices)
    assert list(waiting) == sorted(waiting, key=lambda command: -len(waiting[command]))


def test_what_another_device_is_needed_for_is_not_named():
    named = [choice for choices in unlocking(without("xformers")).values() for choice in choices]
    assert "attention=xformers" not in named


@pytest.mark.parametrize("content", [b"no database at all" * 99, b"x"])
def test_a_broken_store_is_told_and_ends_with_1(tmp_path, content):
    path = tmp_path / "history.db"
    path.write_bytes(content)
    state, is_broken = store_state(str(path))
    assert is_broken and state.problem is not None and "is not an SQLite file" in state.problem


def test_a_store_that_is_not_there_or_old_is_in_order(tmp_path):
    state, is_broken = store_state(str(tmp_path / "none.db"))
    assert (state.problem, is_broken) == ("none yet: 'tune run' makes it", False)
    state, is_broken = store_state(str(store_of(VERSION_5, tmp_path)))
    assert "older version" in state.problem and not is_broken


def test_the_text_names_the_commands_within_80_columns():
    waiting = unlocking(without("torchao"))
    told = drawn(doctor_text(StoreState("history.db"), context().machine, "model", waiting), 80)
    assert "pip install 'diffusers-autotune[quantization]'" in told
    assert all(len(line) <= 80 for line in told.splitlines())


def test_the_doctor_looks_at_this_machine(tmp_path, tiny_cache):
    words = ["doctor", "--device", "cpu", "--cache-dir", str(tiny_cache), "--json"]
    words += ["--store", str(tmp_path / "none.db")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["machine"]["device"] == "cpu" and "torch" in told["machine"]["packages"]
    assert told["store"]["trials"] == 0
    assert any(each["command"] == "--allow-lossy" for each in told["unlocks"])
