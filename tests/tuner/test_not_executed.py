"""Hostile model folders: of what they bring or name, nothing is executed."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from click.testing import CliRunner

from tuner.cli.main import main

pytestmark = pytest.mark.heavy


@pytest.fixture
def hostile(reference_folder, tmp_path, monkeypatch):
    """A copy of a pipeline, and what tells that a module was executed."""
    folder = shutil.copytree(reference_folder("sd15-tiny"), tmp_path / "model")
    traces = tmp_path / "traces"
    traces.mkdir()
    code = f"import pathlib, uuid\npathlib.Path({str(traces)!r}, uuid.uuid4().hex).touch()\n"
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "leaves_a_trace.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    return folder, code, traces


def change(folder, **facts):
    path = folder / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def tune(command, folder, *options):
    result = CliRunner().invoke(main, [command, str(folder), "--cache-dir", "cache", *options])
    assert result.exit_code == 2, result.output
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    return last


RUN = ("--store", "history.db", "--trials", "1", "--race-rounds", "0", "--height", "64")
RUN = (*RUN, "--width", "64", "--steps", "1")


@pytest.mark.parametrize("options", [("knobs",), ("run", *RUN)], ids=["knobs", "run"])
def test_a_module_that_the_index_names_is_not_imported(hostile, options):
    folder, _, traces = hostile
    change(folder, feature_extractor=["leaves_a_trace", "x"])
    command, *rest = options
    assert "'leaves_a_trace', whose code would be run" in tune(command, folder, *rest)
    assert not list(traces.iterdir())


@pytest.mark.parametrize("name", ["None", "unet/diffusers"])
def test_code_that_diffusers_looks_for_in_the_folder_is_not_executed(hostile, name):
    folder, code, traces = hostile
    (folder / f"{name}.py").write_text(code)
    assert f"contains custom code in {name.rpartition('/')[2]}.py" in tune("run", folder, *RUN)
    assert not list(traces.iterdir())


def test_the_trace_would_be_seen(hostile):
    _, code, traces = hostile
    exec(code)
    assert len(list(traces.iterdir())) == 1
