"""What is said of a GPU while packages are imported, and that none is started."""

from __future__ import annotations

import importlib
import os

import pytest
import torch

from tuner.processes.forkserver import preload
from tuner.processes.gpu_answers import LOOK, UNKNOWN, answering, driver_started_before_fork

A_GPU = {"name": "a described GPU", "major": 9, "minor": 0}


def test_a_process_forked_after_an_import_has_touched_a_gpu_is_spoiled_where_there_is_one(
    monkeypatch,
):
    assert not driver_started_before_fork({"cuda": [A_GPU]})
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    assert driver_started_before_fork({"cuda": [A_GPU]})
    assert driver_started_before_fork({"cuda": [UNKNOWN]})
    assert not driver_started_before_fork({"cuda": []})
    assert not driver_started_before_fork({})


def test_imports_ask_for_a_gpu_without_starting_it_and_trials_do_not(monkeypatch):
    monkeypatch.delenv(LOOK, raising=False)
    preload(["tests.tuner.asks_for_a_gpu"])
    assert importlib.import_module("tests.tuner.asks_for_a_gpu").asked == "1"
    assert LOOK not in os.environ


def test_while_they_are_imported_packages_are_told_what_gpu_there_is():
    with answering({"cuda": [A_GPU]}):
        kept = torch.cuda.get_device_properties
        assert torch.cuda.get_device_capability() == (9, 0)
        assert torch.cuda.get_device_name("cuda:0") == "a described GPU"
        assert torch.cuda.get_device_capability(torch.cuda.device(0)) == (9, 0)
        assert torch.cuda.current_device() == 0
    for function in (kept, torch.cuda.get_device_properties):
        with pytest.raises((AssertionError, RuntimeError)):
            function(100)
