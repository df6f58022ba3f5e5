"""What kept rows show, and what the page, the marks and the wheels' list make of them."""

from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from search_space.catalog import all_knobs, check_known
from search_space.verified import VERIFIED
from tests.gpu.page import page
from tests.gpu.rows import KEPT, choices_of, read, verified

ROOT = Path(__file__).parents[2]
HEAD = {"kind": "cuda", "device": "a GPU", "dry": False, "date": "2026-12-01"}
HEAD |= {"packages": {"torch": "2.11.0", "cuda": "13.0"}}
CALL = {"model": "sd15", "kind": "trial", "side_px": 512, "steps": 4}
SAME = {"first_call_s": 1.0, "device_bytes": 2**30, "host_bytes": 2**29}
SAME |= {"disturbed": None, "unstable": None}


def trial(config, call_s, psnr_db=43.0, **facts):
    known = {"item": f"trial {config}", "config": config, "steady_s": [call_s], "psnr_db": psnr_db}
    return {**CALL, **SAME, **known, **facts}


DEFAULT = trial({}, 2.0, None, item="default sd15", kind="default")
BF16 = trial({"precision": "bf16"}, 1.0)


@pytest.fixture
def sessions(tmp_path):
    """Reads sessions back from the files that hold them, each a head and rows."""

    def kept(*sessions):
        for number, (head, *rows) in enumerate(sessions):
            lines = [json.dumps(line) for line in ({**HEAD, **head}, *rows)]
            (tmp_path / f"{number}.jsonl").write_text("\n".join(lines) + "\n")
        return read(tmp_path)

    return kept


def test_the_oldest_rows_are_read_as_the_newest_are():
    (old, *_) = found = read(KEPT)
    assert {session.kind for session in found} == {"cuda"}
    assert old.rows[0]["model"] == "sd15" and old.rows[0]["side_px"] == 512
    shown = verified(found)["cuda"]
    assert {"attention=xformers", "placement=group-offload-leaf-stream"} <= {*shown}
    assert "engine=compile-default" not in shown


def test_a_row_shows_each_choice_of_its_config_if_the_image_is_as_promised(sessions):
    config = {"precision": "bf16", "vae_engine": "compile"}
    (session,) = sessions(({}, DEFAULT, trial(config, 1.0), trial({"precision": "fp16"}, 1.0, 9.0)))
    assert verified([session]) == {"cuda": ("precision=bf16", "vae_engine=compile")}
    failed = {**CALL, "config": {"precision": "fp16"}, "failure": "crash: killed by SIGSEGV"}
    not_compared = trial({"precision": "fp16"}, 1.0, None)
    of_then = trial({"precision": "fp12"}, 1.0)
    another_image = trial({"scheduler": "euler"}, 1.0, None)
    assert [choices_of(row) for row in (failed, not_compared, of_then)] == [[], [], []]
    assert choices_of(another_image) == ["scheduler=euler"]


def test_a_rehearsal_shows_nothing(sessions):
    found = sessions(({"dry": True}, DEFAULT, BF16))
    assert verified(found) == {}
    assert "bf16" not in page(found)


def test_a_gpu_of_amd_is_verified_by_its_own_rows_alone(sessions, describe_machine):
    (session,) = sessions(({"packages": {"torch": "2.11.0", "rocm": "7.0"}}, DEFAULT, BF16))
    assert verified([session]) == {"rocm": ("precision=bf16",)}
    flash = check_known("attention").choice("sdpa-flash")
    amd = describe_machine("cuda", packages={"torch": "2.11.0", "rocm": "7.0"})
    assert flash.verified(describe_machine("cuda")) and not flash.verified(amd)


def test_a_line_that_was_cut_off_ends_its_file(sessions, tmp_path):
    sessions(({}, DEFAULT, BF16))
    whole = (tmp_path / "0.jsonl").read_text()
    (tmp_path / "0.jsonl").write_text(whole[:-20])
    (session,) = read(tmp_path)
    assert [row["item"] for row in session.rows] == ["default sd15"]


def test_a_row_is_held_against_the_default_of_its_own_session(sessions):
    slower = {**DEFAULT, "steady_s": [4.0]}
    text = page(sessions(({}, DEFAULT, BF16), ({}, slower, trial({"precision": "fp16"}, 1.0))))
    cells = [re.split(r" *\| *", line) for line in text.splitlines() if "| `precision" in line]
    assert [(row[1], row[4], row[-2]) for row in cells] == [
        ("`precision=bf16`", "2.00", "a"),
        ("`precision=fp16`", "4.00", "b"),
    ]


def test_the_page_tells_of_whole_runs_and_of_what_was_held_against_another_account(sessions):
    figures = {"latency_s": 0.5, "peak_bytes": 2**30, "host_peak_bytes": 2**29}
    found = {"winner": {"precision": "bf16"}, "speedup": 1.5, "interval": [1.4, 1.6]}
    found |= {"default": figures, "tuned": figures, "trials": 6, "raced": 9}
    again = {"again": {"median_s": 0.5, "disturbed": None}, "config": {}}
    rows = (
        {**CALL, "kind": "tune", "item": "tune sd15", "result": found, "stopped": "time was up"},
        {**CALL, "kind": "memory", "item": "m", "config": {}, "phases": {"load": [2**30, 2**29]}},
        {**CALL, "kind": "loop", "item": "l", "config": {}, "mean": 1.01, "by_hand_s": 0.5},
        *({**CALL, "kind": "repeat", "item": f"r {number}", **again} for number in (1, 2)),
        {**CALL, "item": "f", "config": {"precision": "fp16"}, "failure": "crash: killed"},
        {**CALL, "within": "default sd15", "not_available": {"no need": ["cache=off"]}},
    )
    text = page(sessions(({}, DEFAULT, *rows)))
    for told in (
        "| sd15 (cut short) | `precision=bf16` | 1.50 (1.40 to 1.60) | 500.0 ms, 1.00 GiB |",
        "| memory, and NVML's account | sd15 | `baseline` | 1.00 GiB, NVML 512 MiB | a |",
        "1.010 times its calls of 500.0 ms",
        "| 2 trials | sd15 | `baseline` | 500.0 to 500.0 ms, 0.0 % apart; 0 flagged | a |",
        "- `precision=fp16` (a): crash: killed",
        "- `cache=off`: no need.",
    ):
        assert told in text
    assert "None has been kept yet" not in text


@pytest.mark.parametrize("knob", all_knobs(), ids=lambda knob: knob.name)
def test_a_knob_file_declares_a_cpu_alone_other_devices_are_those_of_the_rows(knob):
    for choice in knob.choices[1:]:
        name = f"{knob.name}={choice.value}"
        shown = {kind for kind, names in VERIFIED.items() if name in names}
        assert {*choice.run_on} - {"cpu"} == shown


# What a machine that has torch, transformers and accelerate has by them, or by any Python.
PRESENT = {
    *("accelerate", "filelock", "huggingface-hub", "markupsafe", "numpy", "packaging", "pillow"),
    *("pyyaml", "regex", "requests", "safetensors", "torch", "tqdm", "transformers"),
    *("typing-extensions", "zipp"),
}


def requirements() -> dict[str, str]:
    lines = (ROOT / "tests/gpu/requirements.txt").read_text("utf-8").splitlines()
    pins = (line.partition("#")[0].split("==") for line in lines if line and line[0] != "#")
    return {name.strip(): version.strip() for name, version in pins}


def test_what_a_bare_machine_lacks_is_pinned_as_everywhere():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line and line[0] != "#")
    assert requirements().items() <= pins.items()


def test_what_a_bare_machine_lacks_needs_nothing_that_it_lacks_too():
    there = {"python_version": "3.12", "python_full_version": "3.12.3", "extra": ""}
    missing = set()
    for name in requirements():
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            assert name == "bitsandbytes"
            continue
        for one in map(Requirement, needed):
            if one.marker is None or one.marker.evaluate(there):
                missing.add(one.name.lower().replace("_", "-"))
    assert missing - {*requirements(), *PRESENT} == set()
