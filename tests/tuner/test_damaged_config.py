"""A tuned config that is damaged, or was made to do harm, is refused in one line."""

from __future__ import annotations

import json
import os

import pytest

from search_space.errors import UsageError
from tests.tuner.test_emit import tuned
from tuner.deploy.emit import emit
from tuner.loader import load
from tuner.records.tuned import TunedConfig


@pytest.fixture
def folder(tmp_path):
    return emit(tuned({"precision": "bf16"}), tmp_path / "out")


def changed(folder, path, value):
    """The config with one value changed, or taken away where it is Ellipsis."""
    facts = json.loads((folder / "config.json").read_text())
    place = facts
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(facts).encode()


def complaint(folder):
    with pytest.raises(UsageError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (["machine"], ..., "machine is missing"),
        (["machine"], [], "machine is []"),
        (["machine", "cores"], ..., "machine.cores is missing"),
        (["machine", "cores"], True, "machine.cores is True"),
        (["machine", "cores"], 2.0, "machine.cores is 2.0"),
        (["machine", "device"], "vulkan", "machine.device is 'vulkan'"),
        (["machine", "native_dtypes"], [1], "machine.native_dtypes[0] is 1"),
        (["software"], {"torch": 2}, "machine.packages.torch is 2"),
        (["workload", "prompts"], [], "workload.prompts is (), beyond 1 to 65536"),
        (["workload", "prompts"], "a horse", "workload.prompts is 'a horse'"),
        (["workload", "prompts"], ["\ud800"], "workload.prompts[0] is '\\ud800', which is no text"),
        (["workload", "batch_size"], 2**40, "workload.batch_size is 1099511627776, beyond 1"),
        (["workload", "batch_size"], 0, "workload.batch_size is 0, beyond 1"),
        (["workload", "seed"], -1, "workload.seed is -1, beyond 0"),
        (["workload", "height_px"], "512", "workload.height_px is '512'"),
        (["workload", "guidance_scale"], float("nan"), "workload.guidance_scale is nan"),
        (["speedup"], float("inf"), "speedup is inf"),
        (["config"], {"precision": None}, "config.precision is None"),
        (["config"], {"no_such_knob": "on"}, "no_such_knob"),
        (["config"], {"precision": "fp2"}, "fp2"),
        (["changes"], [[]], "changes[0] is []"),
        (["tuned"], {"latency_s": {"a": 1}}, "tuned.latency_s is {'a': 1}"),
    ],
)
def test_a_field_of_another_kind_is_named(folder, path, value, reason):
    (folder / "config.json").write_bytes(changed(folder, path, value))
    # The model is there: what is damaged is told, and not that.
    (folder / "model").mkdir()
    with pytest.raises(UsageError) as caught:
        load(folder, model=str(folder / "model"))
    assert reason in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expecting value"),
        (b"\xef\xbb\xbf{}", "BOM"),
        ("{}".encode("utf-16"), "codec can't decode"),
        (b"{\xff}", "codec can't decode"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"schema_version":' * 100_000, "nested too deeply"),
        (b'{"schema_version": ' + b"9" * 5000 + b"}", "cannot be read"),
        (b'{"schema_version": 1' + b" " * 2**24 + b"}", "larger than 16 MiB"),
        (b'{"schema_version": 1, "x": 9223372036854775808}', "a number beyond"),
        (b"null", "holds no JSON object"),
    ],
)
def test_a_file_that_is_no_document_is_refused(folder, content, reason):
    (folder / "config.json").write_bytes(content)
    assert reason in complaint(folder)


def test_what_is_no_file_is_refused(folder):
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    assert "it is no file" in complaint(folder)
    (folder / "config.json").rmdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "config.json")
        assert "it is no file" in complaint(folder)
        (folder / "config.json").unlink()
        (folder / "config.json").symlink_to("/dev/zero")
        assert "it is no file" in complaint(folder)


@pytest.mark.parametrize("place", ["", ".", "..", "/", "\x00", "é" * 300, "owner/name"])
def test_a_place_without_a_model_is_told(folder, place):
    (folder / "config.json").write_bytes(changed(folder, ["folder"], place))
    assert "the model is no longer at" in complaint(folder)


def test_a_field_of_a_later_version_is_passed_over(folder):
    (folder / "config.json").write_bytes(changed(folder, ["later"], {"x": float("nan")}))
    assert TunedConfig.read(folder) == tuned({"precision": "bf16"})
