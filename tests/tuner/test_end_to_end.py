"""The whole path with real pipelines and real child processes, as a user walks it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy
import pytest
from PIL import Image

from search_space.trial import FailureKind
from storage import Store
from tuner.measuring.interleaving import possible

pytestmark = pytest.mark.slow
TINY = "reference:sd15-tiny"
CALL = {"height": 64, "width": 64, "num_inference_steps": 2}
WORKLOAD = ["--height", "64", "--width", "64", "--steps", "2"]
# Knobs that neither compile nor export: a trial is over in seconds.
QUICK = [f"--include={name}" for name in ("precision", "memory_format", "attention_slicing")]
# Runs a script as on a machine where this project was never installed.
WITHOUT_US = """
import runpy, sys
for name in ("tuner", "search_space", "storage"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
LOADED = """
import json, sys, torch, tuner
pipe = tuner.load(sys.argv[1])
call = json.loads(sys.argv[2])
image = pipe(**call, generator=torch.Generator("cpu").manual_seed(0)).images[0]
image.save(sys.argv[3])
"""


def tune(cache, *arguments):
    command = [
        sys.executable,
        "-c",
        "from tuner.cli.main import main; main()",
        "run",
        TINY,
        *WORKLOAD,
    ]
    command += ["--cache-dir", str(cache), *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # What is started in the background of a shell ignores interrupts, and so would its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, **pipes, start_new_session=True)
    finally:
        signal.signal(signal.SIGINT, before)


def finished(process, status=0):
    printed, progress = process.communicate(timeout=500)
    assert process.returncode == status, progress
    return printed, progress


def pixels(path):
    return numpy.asarray(Image.open(path))


@pytest.mark.parametrize(
    "pins",
    [
        # A pin, so that there is a race whichever is faster.
        (*QUICK, "--fix", "precision=bf16"),
        ("--include", "engine", "--fix", "engine=onnxruntime"),
    ],
    ids=["eager", "onnxruntime"],
)
def test_what_is_loaded_is_what_was_measured(tiny_cache, tmp_path, pins):
    output = tmp_path / "tuned"
    store = tmp_path / "history.db"
    arguments = [*pins, "--trials", 2, "--store", store, "--output", output, "--json"]
    arguments += ["--race-rounds", 2, "--no-ablation"]
    printed, progress = finished(tune(tiny_cache, *arguments))
    result = json.loads(printed)
    assert {"baseline", "best", "speedup", "trials", "output"} <= set(result)
    # Beside a neighbour a run tells none.
    if result["no_speedup"] is None:
        assert result["speedup_low"] <= result["speedup"] <= result["speedup_high"]
    assert re.search(r"^race 2 +baseline ", progress, re.M)
    for part in ("baseline", "best"):
        assert {"config", "latency_s", "peak_bytes", "psnr_db"} <= set(result[part])
        assert result[part]["utilization"] > 0
        assert "disturbed" in result[part]
    assert result["output"] == str(output)
    assert re.search(rf"^{result['trials']}/2 ", progress, re.M)
    with Store(str(store)) as ledger:
        baseline = ledger.trial(1).trial.measurement
        raced = [stored.trial for stored in ledger.trials() if stored.trial.purpose == "race"]
    for number in (1, 2):
        turns = [one.measurement.turns_s().keys() for one in raced if one.round == number]
        assert len(turns) == 2
        assert len(turns[0]) >= (3 if possible() else 0)
        assert turns[0] == turns[1]
    assert {"text_encoding", "step", "decode", "second_call"} <= set(baseline.seconds)
    kinds = {seen.kind for seen in baseline.conditions}
    assert {"others_cores", "load_average"} <= kinds

    alone = tmp_path / "alone.png"
    script = [sys.executable, "-c", WITHOUT_US, str(output / "load.py"), str(alone)]
    subprocess.run(script, check=True, capture_output=True, cwd=tmp_path)
    call = {"prompt": "a photograph of an astronaut riding a horse", **CALL}
    ours = tmp_path / "ours.png"
    code = [sys.executable, "-c", LOADED, str(output), json.dumps(call), str(ours)]
    subprocess.run(code, check=True, capture_output=True)
    assert pixels(alone).std() > 5
    assert (pixels(alone) == pixels(ours)).all()


def test_a_killed_run_is_taken_up_without_measuring_anything_twice(tiny_cache, tmp_path):
    store = tmp_path / "history.db"
    arguments = [*QUICK, "--trials", 4, "--race-rounds", 0, "--store", store]
    arguments += ["--output", tmp_path / "tuned"]
    killed = tune(tiny_cache, *arguments)
    for line in killed.stderr:
        if line.startswith("2/4 "):
            break
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    with Store(str(store)) as ledger:
        before = ledger.trials()
    assert len(before) >= 2
    _, progress = finished(tune(tiny_cache, *arguments))
    # What was cut short while the machine was disturbed is tried once more.
    (reused,) = re.findall(r"^Reused from earlier runs: (\d+) trial", progress, re.M)
    again = len(before) - int(reused)
    assert ("Tried once more: " in progress) == bool(again)
    with Store(str(store)) as ledger:
        after = [stored.trial for stored in ledger.trials()]
    assert after[: len(before)] == [stored.trial for stored in before]
    configs = [json.dumps(dict(trial.config)) for trial in after]
    assert len(set(configs)) == 4
    assert len(configs) == 4 + again


def test_an_interrupt_ends_the_run_with_what_was_found(tiny_cache, tmp_path):
    output = tmp_path / "tuned"
    arguments = [*QUICK, "--store", tmp_path / "history.db", "--output", output]
    process = tune(tiny_cache, *arguments)
    for line in process.stderr:
        if line.startswith("2/20 "):
            break
    os.kill(process.pid, signal.SIGINT)
    began_s = time.monotonic()
    printed, progress = finished(process, status=130)
    assert time.monotonic() - began_s < 60
    assert "Interrupted in the search." in progress
    assert "Next: the same command goes on from here." in progress
    assert "baseline" in printed
    assert (output / "load.py").exists()


def test_a_budget_that_nothing_fits_ends_with_1_and_the_smallest(tiny_cache, tmp_path):
    store = tmp_path / "history.db"
    arguments = [*QUICK, "--memory", "100MiB", "--trials", 2, "--store", store]
    printed, progress = finished(tune(tiny_cache, *arguments, "--json"), status=1)
    result = json.loads(printed)
    assert result["best"] is result["speedup"] is result["output"] is None
    assert result["baseline"]["peak_bytes"] > 100 * 2**20
    assert "error: nothing fits 100 MiB: the smallest config found needs" in progress
    with Store(str(store)) as ledger:
        (first, _) = ledger.trials()
    assert first.trial.judged(first.trial.budget).kind is FailureKind.OVER_MEMORY


def test_a_server_that_is_gone_ends_the_run_with_1_and_the_result(tiny_cache, tmp_path, server):
    output = tmp_path / "tuned"
    arguments = [*QUICK, "--store", server.url, "--output", output, "--json"]
    process = tune(tiny_cache, *arguments)
    for line in process.stderr:
        if line.startswith("2/20 "):
            break
    server.stop()
    printed, progress = finished(process, status=1)
    last_line = progress.splitlines()[-1]
    assert last_line.startswith("error: ")
    assert "the PostgreSQL server is gone or refuses; start it" in last_line
    assert "The store failed in the search." in progress
    result = json.loads(printed)
    assert (result["ended_by"], result["output"]) == ("store", str(output))
    assert (output / "load.py").exists()
    server.start()
    with Store(server.url) as ledger:
        assert len(ledger.trials()) in (result["trials"], result["trials"] - 1)


def test_two_runs_at_once_share_the_trials(tiny_cache, tmp_path):
    store = tmp_path / "history.db"
    arguments = [*QUICK, "--trials", 4, "--race-rounds", 0, "--store", store]
    outputs = [tmp_path / name for name in ("one", "two")]
    processes = [tune(tiny_cache, *arguments, "--output", output) for output in outputs]
    told = [finished(process)[1] for process in processes]
    assert any("Reused from another run" in progress for progress in told)
    with Store(str(store)) as ledger:
        trials = [stored.trial for stored in ledger.trials()]
    searched = [trial.config for trial in trials if trial.purpose.is_searched]
    assert len(searched) == len(set(searched))
    assert len(searched) in (4, 5)
    assert all((output / "load.py").exists() for output in outputs)
