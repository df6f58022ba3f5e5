from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from search_space.hardware.machine import Machine
from search_space.identity import canonical_json, fingerprint


def test_the_order_of_keys_and_the_kind_of_sequence_do_not_matter():
    assert fingerprint({"a": (1, 2), "b": None}) == fingerprint({"b": None, "a": [1, 2]})


@pytest.mark.parametrize(
    "other", [{"a": [2, 1]}, {"a": [1, 2], "b": None}, {"A": [1, 2]}, {"a": ["1", 2]}, [1, 2]]
)
def test_another_value_has_another_fingerprint(other):
    assert fingerprint(other) != fingerprint({"a": [1, 2]})


def test_canonical_json_has_sorted_keys_no_spaces_and_letters_as_they_are():
    assert canonical_json({"b": "ä 💥", "a": [1, None]}) == '{"a":[1,null],"b":"ä 💥"}'


def test_the_fingerprint_names_its_form_and_does_not_change_with_the_process():
    code = "from search_space.identity import fingerprint; print(fingerprint({'a': 'ä', 'b': 1}))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == fingerprint({"b": 1, "a": "ä"})
    # A change of the form would split the history of every user: it needs a new tag.
    assert told.stdout.strip() == "b2:8bd9f68b6f539f9eb0f7c236418b41b6"


def test_what_is_no_json_is_refused_and_not_guessed_at():
    with pytest.raises(TypeError):
        fingerprint({"a": {1, 2}})


def test_a_machine_comes_back_from_json(describe_machine):
    machine = describe_machine("cuda", probes={"xformers": "broken"})
    assert Machine.from_json(asdict(machine)) == machine
    assert Machine.from_json({**asdict(machine), "native_dtypes": ["fp32", "bf16", "fp16"]}) == (
        machine
    )


def test_installing_a_package_changes_the_software_but_not_the_hardware(describe_machine):
    machine = describe_machine("cuda")
    newer = replace(machine, packages={"torch": "3.0"}, probes={"xformers": "broken"})
    assert newer.fingerprint == machine.fingerprint
    assert newer.software_fingerprint != machine.software_fingerprint


def test_another_device_is_other_hardware(describe_machine):
    machine = describe_machine("cuda")
    assert replace(machine, device_bytes=1).fingerprint != machine.fingerprint
    assert describe_machine("cpu").fingerprint != machine.fingerprint
