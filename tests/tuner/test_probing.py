from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import asdict

import psutil
import pytest
from click.testing import CliRunner

from search_space.catalog import all_probes
from search_space.errors import UsageError
from search_space.hardware.detect import KINDS
from search_space.hardware.machine import Machine
from tests.tuner.drawing import drawn
from tests.tuner.tasks import WAYS_TO_END
from tuner.cli.main import main
from tuner.discovery.probing import examine_machine, find_device, in_words, probed, reasons_of
from tuner.processes.children import Children
from tuner.report.machine import machine_json, machine_text

pytestmark = pytest.mark.heavy

TRY = "tests.tuner.tasks:try_ways_to_end"


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    with Children() as opened:
        yield opened


@pytest.fixture(scope="module")
def around(children: Children) -> tuple[Machine, dict[str, str]]:
    return examine_machine(children, "cpu")


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("crashes", "trying it crashed the process with SIGSEGV"),
        ("exits", "trying it ended the process with exit code 0"),
        ("raises", "trying it failed: this device is not one: try another"),
        ("refuses", "it is too slow"),
        ("works", None),
    ],
)
def test_however_a_probe_ends_there_is_an_answer(children, name, answer):
    assert reasons_of(children, TRY, [name]) == {name: answer}


def test_a_probe_that_hangs_is_given_up_and_killed(children, tmp_path):
    seen = tmp_path / "pid"
    began_s = time.monotonic()
    found = reasons_of(children, TRY, ["hangs"], {"seen": str(seen)}, limit_s=3.0)
    assert found == {"hangs": "trying it did not end within 3 s"}
    assert time.monotonic() - began_s < 30.0
    assert not psutil.pid_exists(int(seen.read_text()))


def test_probes_before_and_after_a_crash_are_answered(children):
    names = ["works", "crashes", "refuses", "raises", "crashes-too", "works-too"]
    found = reasons_of(children, TRY, names)
    assert list(found) == names
    assert [found["works"], found["refuses"], found["works-too"]] == [None, "it is too slow", None]
    assert found["crashes"] == found["crashes-too"] == "trying it crashed the process with SIGSEGV"


def test_no_answer_is_more_than_one_line(children):
    reasons = filter(None, reasons_of(children, TRY, ["raises", "refuses", "crashes"]).values())
    assert all(reason == " ".join(reason.split()) and reason[-1] != "." for reason in reasons)
    assert {"raises", "refuses", "crashes"} <= set(WAYS_TO_END)


def test_a_probe_is_told_the_device_and_the_head_size(children):
    setting = {"device": "cpu", "head_size": 40}
    found = reasons_of(children, TRY, ["echoes"], setting)
    assert found == {"echoes": "asked about cpu and 40"}


def test_every_probe_of_the_knobs_is_tried(around):
    machine, _ = around
    assert set(machine.probes) == set(all_probes())
    assert machine.probes["CPUExecutionProvider"] is None
    reasons = [reason for reason in machine.probes.values() if reason is not None]
    assert all(len(reason.split()) > 2 and "\n" not in reason for reason in reasons)


def test_the_probes_of_the_knobs_run_by_name(children):
    found = probed(children, ["CPUExecutionProvider"], "cpu", 40)
    assert found == {"CPUExecutionProvider": None}


def test_of_every_kind_of_device_there_is_an_answer(children):
    device, missing = find_device(children, None)
    assert device in KINDS and device not in missing
    assert "cpu" not in missing
    assert set(missing) <= {*KINDS, "rocm", "ipex"}
    assert all(len(reason.split()) > 2 for reason in missing.values())


def test_a_device_that_nobody_knows_is_answered_with_those_there_are(children):
    with pytest.raises(UsageError, match="'abacus' cannot be used: there are cuda, xpu, hpu, mps"):
        find_device(children, "abacus")


def test_a_device_that_is_not_there_is_answered_with_what_was_found(children):
    _, missing = find_device(children, None)
    for kind in set(KINDS) & set(missing):
        with pytest.raises(UsageError) as caught:
            find_device(children, kind)
        assert str(caught.value) == f"the device {kind!r} cannot be used: {missing[kind]}"


def test_the_machine_is_shown_in_short(around):
    machine, missing = around
    shown = drawn(machine_text(machine, missing), 80)
    assert shown.startswith(f"device       cpu: {machine.device_name}\n")
    assert f"torch {machine.packages['torch']}" in shown
    assert "CPUExecutionProvider" in shown
    assert "'tune machine --all' says why" in " ".join(shown.split())
    assert len(shown.splitlines()) <= 16


def test_with_all_the_machine_is_shown_with_what_was_not_found_and_why(around):
    machine, missing = around
    shown = drawn(machine_text(machine, missing, all_wanted=True))
    for title in ("Machine", "Other devices", "Packages", "Works here", "Does not work here"):
        assert title in shown.splitlines()
    rows = [" ".join(line.split()) for line in shown.splitlines()]
    assert {f"{kind} {' '.join(reason.split())}" for kind, reason in missing.items()} <= set(rows)
    refused = {name: reason for name, reason in machine.probes.items() if reason}
    assert {f"{name} {reason}" for name, reason in refused.items()} <= set(rows)


def test_no_probe_answers_with_an_exception_of_python(around):
    machine, missing = around
    told = [*missing.values(), *filter(None, machine.probes.values())]
    assert [reason for reason in told if re.search(r"\w(Error|Exception|Warning)\b", reason)] == []
    assert [reason for reason in told if reason.startswith("trying it failed")] == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError(name="a.b"), "the module a is missing: install the package that"),
        (ImportError("no libx.so."), "a package is installed and cannot be loaded: no libx.so"),
        (KeyError(), "trying it failed: KeyError"),
    ],
)
def test_what_an_exception_says_is_told_in_words(error, said):
    assert in_words(error).startswith(said)


def test_several_devices_are_counted():
    machine = Machine("cuda", "H200", 2**37, 2**37, 8, "Linux x86_64", device_count=4)
    shown = drawn(machine_text(machine, {}))
    assert "cuda: 4 x H200\n" in shown
    assert "128.00 GiB, and 128.00 GiB of the host" in shown


def test_the_json_of_the_machine_has_a_stable_form(around):
    machine, missing = around
    result = CliRunner().invoke(main, ["machine", "--device", "cpu", "--json"])
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed == json.loads(json.dumps(machine_json(machine, missing)))
    assert set(printed) == {*asdict(machine), "absent"}
    assert Machine.from_json({name: printed[name] for name in asdict(machine)}) == machine


def test_the_table_of_the_machine_is_printed():
    result = CliRunner().invoke(main, ["machine", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("device       cpu: ")


def test_intels_extension_is_named_and_never_imported(tmp_path, monkeypatch):
    # As the real one does beside another torch than its own.
    package = tmp_path / "intel_extension_for_pytorch"
    package.mkdir()
    (package / "__init__.py").write_text("import os\nos._exit(127)\n")
    facts = tmp_path / "intel_extension_for_pytorch-2.8.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Name: intel_extension_for_pytorch\nVersion: 2.8.0\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.syspath_prepend(str(tmp_path))
    with Children() as children:
        device, missing = find_device(children, "cpu")
    assert device == "cpu"
    assert missing["ipex"].startswith("intel_extension_for_pytorch 2.8.0 is detected and unusable")


def test_the_folder_of_the_questions_is_gone(children, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    reasons_of(children, TRY, ["works", "crashes"])
    assert list(tmp_path.iterdir()) == []
