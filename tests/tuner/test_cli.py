from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys

import pytest
from click.testing import CliRunner

from search_space.budget import Budget
from search_space.space import Space
from search_space.workload import Workload
from storage import Store
from tests.tuner.simulation import FACTORS, Quiet, Simulation, context
from tuner.cli.main import main
from tuner.records.objective import Objective
from tuner.records.plan import Plan
from tuner.records.request import request_of
from tuner.run import Run

COMMANDS = sorted(main.commands)
TINY = "reference:sd15-tiny"


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return invoke


def assert_one_line(result, status, *words):
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(invoke, command):
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert f"Example: tune {command}" in result.stdout


def test_whoever_reads_the_output_may_stop_reading():
    command = [sys.executable, "-m", "tuner", "knobs", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 0)


def test_help_is_quick_and_imports_no_framework():
    code = (
        "import sys, tuner.cli.main; print(*{'torch', 'optuna', 'sqlalchemy'} & set(sys.modules))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--memory", "lots"], ["'lots' is not a size", "8GiB"]),
        (["--memory", "0GiB"], ["no memory at all"]),
        (["--memory", "8"], ["is not a size"]),
        (["--host-memory", "much"], ["'much' is not a size", "--host-memory"]),
        (["--time-limit", "soon"], ["is not a duration", "30m"]),
        (["--fix", "precision"], ["knob=choice"]),
        (["--trials", "0"], ["0 is not in the range"]),
        (["--race-rounds", "1"], ["no spread", "--race-rounds 0"]),
        (["--objective", "speed"], ["'speed' is not one of"]),
        (["--objective", "session"], ["--images"]),
        (["--images", "20"], ["--objective session"]),
        (["--height", "ten"], ["'ten' is not a valid integer"]),
        (["--wrong"], ["--wrong", "--help"]),
    ],
)
def test_an_option_that_does_not_parse_is_one_line(invoke, arguments, words):
    assert_one_line(invoke("run", TINY, *arguments), 2, *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fix", "precison=bf16"], ["no knob 'precison'", "did you mean 'precision'?"]),
        (["--fix", "precision=bf61"], ["no choice of precision 'bf61'", "did you mean 'bf16'?"]),
        (["--fix", "vae_slicing=on"], ["vae_slicing=on is not available", "--batch-size"]),
        (["--include", "engin"], ["no knob 'engin'", "did you mean 'engine'?"]),
        (
            ["--fix", "precision=bf16", "--fix", "engine=onnxruntime"],
            ["exclude each other", "bfloat16"],
        ),
        (["--height", "100"], ["--height 100 is not divisible by 8", "take 96"]),
        (["--num-frames", "9"], ["makes images", "--num-frames"]),
        (["--device", "cuda"], ["'cuda' cannot be used"]),
        (["--device", "abacus"], ["'abacus' cannot be used"]),
        (
            ["--lpips", "."],
            ["LPIPS needs", "alexnet-owt-7be5be79.pth", "docs/measuring/fidelity.md"],
        ),
    ],
)
def test_a_request_that_cannot_be_met_is_one_line(invoke, tiny_cache, arguments, words):
    result = invoke("run", TINY, "--cache-dir", tiny_cache, *arguments)
    assert_one_line(result, 2, *words)


@pytest.mark.parametrize(
    ("arguments", "objective", "throughput"),
    [
        ([], Objective(), False),
        (["--objective", "throughput"], Objective("throughput"), True),
        (["--objective", "session", "--images", "20"], Objective("session", 20), False),
    ],
)
def test_the_objective_is_part_of_the_request(arguments, objective, throughput):
    tune = main.make_context("tune", ["run"])
    params = main.commands["run"].make_context("run", [TINY, *arguments], parent=tune).params
    asked = {
        name: params[name] for name in params.keys() - {"store", "output", "json_wanted", "explain"}
    }
    request = request_of(asked.pop("model"), **asked)
    assert request.objective == objective
    assert request.workload.throughput is throughput
    assert (request.race_rounds, request.ablation) == (3, True)


def test_models_that_are_none_are_one_line(invoke, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model_index.json").write_text("{")
    for model, words in {
        "reference:sd51-tiny": ["did you mean 'sd15-tiny'?"],
        "nowhere": ["no folder 'nowhere'", "Hub id"],
        "empty": ["model_index.json"],
        "broken": ["cannot be read"],
    }.items():
        assert_one_line(invoke("run", model), 2, *words)


@pytest.mark.heavy
def test_a_hub_id_without_a_hub_is_one_line(invoke, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert_one_line(invoke("run", "nobody/nothing"), 2, "'nobody/nothing'", "cannot be fetched")


def test_corrupt_weights_are_one_line(invoke, tmp_path, tiny_cache):
    from tuner.reference import build

    model = tmp_path / "corrupt"
    shutil.copytree(build("sd15-tiny", tiny_cache), model)
    (model / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"\xff" * 4096)
    result = invoke("run", model, "--steps", "1", "--height", "64", "--width", "64")
    assert_one_line(result, 2, "diffusion_pytorch_model.safetensors is corrupt")
    assert not (tmp_path / "tuned").exists()


@pytest.mark.parametrize("command", [["trials"], ["best"], ["show", "1"], ["run", TINY]])
def test_a_store_that_is_not_ours_is_one_line_and_untouched(invoke, tmp_path, command):
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("create table cats (name text)")
    connection.close()
    before = foreign.read_bytes()
    assert_one_line(invoke(*command, "--store", foreign), 2, "foreign.db")
    assert foreign.read_bytes() == before


def test_history_before_the_first_run_says_what_to_do(invoke, tmp_path):
    assert_one_line(invoke("trials", "--store", tmp_path / "none.db"), 2, "run 'tune run' first")
    assert not (tmp_path / "none.db").exists()


@pytest.fixture
def history(tmp_path):
    """A store with the trials of a simulated run over a budget that some exceed."""
    path = tmp_path / "history.db"
    with Store(str(path)) as store:
        plan = Plan(
            Space(context(), include=tuple(FACTORS)),
            Budget(4 * 2**30),
            10,
            None,
            600.0,
            tmp_path / "cache",
            sampler="random",
        )
        Run(plan).go(store, Simulation(), Quiet())
    return path


def test_trials_are_listed_in_the_stable_form(invoke, history):
    listed = json.loads(invoke("trials", "--store", history, "--json").stdout)
    keys = [
        "number",
        "purpose",
        "state",
        "config",
        "latency_s",
        "peak_bytes",
        "host_peak_bytes",
        "psnr_db",
        "ssim",
        "lpips",
        "tier",
        "disturbed",
        "unstable",
        "failure",
        "cost_s",
        "model",
        "size",
        "steps",
        "device",
        "started_at",
        "study",
        "speedup",
        "baseline",
    ]
    assert [list(trial) for trial in listed] == [keys] * 10
    assert listed[0]["config"]["precision"] == "fp32"
    assert listed[0]["psnr_db"] is listed[0]["tier"] is None
    assert {trial["tier"] for trial in listed[1:]} == {"lossless"}
    infeasible = [trial for trial in listed if trial["state"] == "infeasible"]
    assert {trial["failure"]["kind"] for trial in infeasible} == {"over_memory"}
    table = invoke("trials", "--store", history).stdout
    assert "over_memory: needs 7.00 GiB" in table


def test_one_trial_is_shown_with_its_samples(invoke, history):
    shown = json.loads(invoke("show", "2", "--store", history, "--json").stdout)
    assert shown["number"] == 2
    assert len(shown["seconds"]["steady"]) == 3
    assert shown["workload"] == json.loads(
        json.dumps(Workload.from_json(shown["workload"]).__dict__)
    )
    assert "steady" in invoke("show", "2", "--store", history).stdout
    assert_one_line(invoke("show", "99", "--store", history), 2, "no trial 99", "tune trials")


def test_the_best_of_a_model_is_shown(invoke, history):
    (winner,) = json.loads(invoke("best", "model", "--store", history, "--json").stdout)
    assert winner["config"]["precision"] == "bf16"
    assert winner["speedup"] is winner["speedup_low"] is winner["speedup_high"] is None
    assert "not raced" in invoke("best", "--store", history).stdout
    assert json.loads(invoke("best", "other", "--store", history, "--json").stdout) == []


def test_knobs_are_listed_in_the_stable_form(invoke, tiny_cache):
    result = invoke("knobs", TINY, "--cache-dir", tiny_cache, "--json")
    knobs = {knob["name"]: knob["choices"] for knob in json.loads(result.stdout)}
    assert len(knobs) >= 7
    for choices in knobs.values():
        assert choices[0]["available"]
        for choice in choices:
            assert {"value", "available", "reason", "tier"} <= set(choice)
            assert choice["available"] == (choice["reason"] is None)


def test_knobs_are_told_in_short_in_full_and_one_by_one(invoke, tiny_cache, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    asked = ("knobs", TINY, "--cache-dir", tiny_cache)
    assert "allocator            system, system-kept" in invoke(*asked).stdout
    reason = "xformers is not installed: pip install 'diffusers-autotune[xformers]'"
    assert reason in invoke(*asked, "--all").stdout
    one = invoke(*asked, "--knob", "precision").stdout
    assert one.startswith("precision\nOne dtype for the denoiser")
    assert_one_line(invoke(*asked, "--knob", "precison"), 2, "did you mean 'precision'?")


def test_a_bug_of_ours_is_one_line_and_a_file(invoke, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    @main.command("breaks")
    def breaks():
        raise ZeroDivisionError("division by zero")

    try:
        result = invoke("breaks")
    finally:
        main.commands.pop("breaks")
    assert_one_line(result, 1, "ZeroDivisionError", "a bug of ours")
    (kept,) = tmp_path.glob("tune-bug-*.txt")
    assert "division by zero" in kept.read_text()
