"""Tables fit the console and lose nothing by it: at each width all words are there, whole."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from search_space.budget import Budget
from search_space.config import BASELINE, Config
from search_space.hardware.machine import Machine
from search_space.space import Space
from search_space.trial import Condition, Failure, FailureKind, Measurement, Peak, Purpose, Trial
from search_space.workload import Workload
from storage import Store
from tests.tuner.drawing import drawn
from tests.tuner.simulation import FACTORS, Quiet, Simulation, context
from tuner.cli.main import main
from tuner.cli.output import stderr, stdout
from tuner.history.winners import winners
from tuner.records.plan import Plan
from tuner.report.knobs import all_choices, knobs_text, one_knob
from tuner.report.machine import machine_text
from tuner.report.result import changes_table, result_table
from tuner.result import Result
from tuner.run import Run

WIDTHS = (80, 100, 160)
WIDE = 10_000
HEADS = {"config", "note", "why", "not", "available"}
"""The names of last columns, which are told only where these stand beside the others."""

at_each_width = pytest.mark.parametrize("width", WIDTHS)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with failures, a race and an ablation, kept in a store."""

    def failing(config):
        return FailureKind.CRASH if "attention" in config else None

    folder = tmp_path_factory.mktemp("run")
    space = Space(context(), include=tuple(FACTORS))
    budget = Budget(6 * 2**30, 8 * 2**30)
    plan = Plan(space, budget, 20, None, 600.0, folder / "cache", race_rounds=3, ablation=True)
    at_work = Run(plan)
    with Store(str(folder / "history.db")) as store:
        at_work.go(store, Simulation(noise=0.003, failing=failing), Quiet())
        other = Workload("stabilityai/stable-diffusion-xl-base-1.0", "b2:2", 1024, 1024, steps=30)
        machine = Machine("cuda", "NVIDIA H200 NVL 141GB HBM3e", 2**37, 2**38, 192, "Linux x86_64")
        study = store.open_study(machine, replace(other, batch_size=4), Budget(), {})
        for trial in on_a_gpu():
            store.add(study, trial)
    return at_work, folder / "history.db"


def on_a_gpu():
    began = "2026-01-02T03:04:05+00:00"
    peaks = tuple(Peak(place, "steady", "a counter", 2**34) for place in ("device", "host"))
    busy = Condition("others_cores", 0.9, "other processes took 0.9 cores", "steady")
    seconds = {"load": (12.3456789,), "steady": (0.123456789, 0.130000001, 0.119) * 9}
    fidelity = {"psnr_db": 31.23456789, "ssim": 0.987654321, "latent_error": 1.23456789e-5}
    measured = Measurement(seconds, peaks, {}, (busy,))
    yield Trial(BASELINE, measured, 60.0, began, purpose=Purpose.BASELINE)
    config = {
        "engine": "compile-max-autotune-no-cudagraphs",
        "text_encoder_engine": "onnxruntime-int8-weights",
        "vae_engine": "onnxruntime-tensorrt",
    }
    yield Trial(Config(config), Measurement(seconds, peaks, fidelity), 4000.0, began)
    said = "torch.OutOfMemoryError: CUDA out of memory, tried to allocate 20.00 GiB of [red]x[/red]"
    log = Failure(FailureKind.DEVICE_OUT_OF_MEMORY, said, "first_call", "a log\n\twith [bold]lines")
    yield Trial(Config({"precision": "fp16"}), log, 4.0, began)


def assert_whole(narrow: str, wide: str, width: int) -> None:
    assert [line for line in narrow.splitlines() if len(line) > width] == []
    lost, found = (
        Counter(one.split()) - Counter(other.split())
        for one, other in ((wide, narrow), (narrow, wide))
    )
    assert set(lost) <= HEADS
    assert set(found) == set()


def printed(width, *words):
    result = CliRunner().invoke(main, [*map(str, words)], env={"COLUMNS": str(width)})
    assert result.exit_code == 0, result.output
    return result.stdout


@at_each_width
@pytest.mark.parametrize("command", ["trials", "best"])
def test_lists_of_what_is_stored_fit(run, command, width):
    _, path = run
    narrow = printed(width, command, "--store", path)
    assert_whole(narrow, printed(WIDE, command, "--store", path), width)
    assert all(line == line.rstrip() for line in narrow.splitlines())


@at_each_width
def test_each_trial_fits_when_it_is_shown(run, width):
    at_work, path = run
    numbers = [trial.number for trial in at_work.trials]
    for number in (*numbers[:6], numbers[-1] + 1):
        shown = printed(width, "show", number, "--store", path)
        assert_whole(shown, printed(WIDE, "show", number, "--store", path), width)


@at_each_width
def test_the_result_of_a_run_fits(run, width):
    at_work, _ = run
    tuned = at_work.tuned()
    assert tuned.config and tuned.changes
    for table in (result_table(result_of(at_work, tuned)), changes_table(tuned)):
        assert_whole(drawn(table, width), drawn(table, WIDE), width)


@at_each_width
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_knobs_and_the_machine_fit(width, device):
    space = Space(context(device))
    reasons = {"bf16": "a reason of " + "many words " * 20, "flex": None}
    machine = replace(space.context.machine, probes=reasons, packages={"torch": "2.13.0+cpu"})
    tables = [knobs_text(space), all_choices(space), *(one_knob(space, one) for one in space.knobs)]
    tables += [machine_text(machine, {"mps": "it is not there"}, all) for all in (True, False)]
    for table in tables:
        assert_whole(drawn(table, width), drawn(table, WIDE), width)


def test_choices_that_cannot_be_had_are_counted_a_line_a_reason():
    shown = drawn(knobs_text(Space(context())), WIDE).partition("\nNot available here: ")[2]
    rows = [line.split(maxsplit=1) for line in shown.splitlines()[2:]]
    counts = [int(count) for count, _ in rows]
    assert counts == sorted(counts, reverse=True)
    assert shown.startswith(f"{sum(counts)} choices ")
    reasons = [line.split("  ")[-1] for line in shown.splitlines()[2:]]
    assert "they need cuda" in reasons and len(reasons) == len(set(reasons))


def test_trials_stand_under_their_model_size_and_machine_the_newest_last(run):
    _, path = run
    first, second = printed(100, "trials", "--store", path).split("\n\n")
    assert first.startswith("model, 512x512, 4 steps, on a described machine (cpu)\ntrial  purpose")
    assert second.startswith(
        "stabilityai/stable-diffusion-xl-base-1.0, 1024x1024-b4, 30 steps, on NVIDIA H200 NVL"
    )
    assert "2026-01-0" in second and "race 1" in first


def test_a_reason_stands_under_its_row_as_it_was_said(run):
    _, path = run
    lines = printed(160, "trials", "--store", path).splitlines()
    (place,) = [i for i, line in enumerate(lines) if "precision=fp16" in line and "2026-01" in line]
    assert lines[place + 1].startswith("    device_out_of_memory: torch.OutOfMemoryError: CUDA out")
    assert lines[place + 1].endswith("[red]x[/red]")


def test_columns_that_say_nothing_are_left_out(run):
    at_work, path = run
    budgets = printed(160, "best", "--store", path).split("\n\n")
    assert "budget    on the host" in budgets[0] and "budget" not in budgets[1]
    assert "PSNR" not in drawn(result_table(kept_default(at_work)))


def kept_default(at_work):
    tuned = at_work.tuned()
    figures = {**tuned.baseline, "psnr_db": None}
    return result_of(at_work, replace(tuned, config=BASELINE, tuned=figures, speedup=None))


def result_of(at_work, tuned):
    return Result(tuned, Path("tuned"), (), (), 0, at_work.ending, "")


def test_a_kept_default_stands_alone(run):
    at_work, _ = run
    table = drawn(result_table(kept_default(at_work)), 80)
    assert "baseline" in table and "best" not in table


def test_what_is_shown_of_a_trial_begins_with_what_counts(run):
    at_work, path = run
    (winner, _) = winners(Store(str(path), read_only=True).trials())
    shown = printed(100, "show", winner.stored.trial.number, "--store", path)
    names = [line.split("  ")[0] for line in shown.splitlines()[1:6]]
    assert names == ["config", "latency", "speed-up", "peak memory", "fidelity"]
    low, high = at_work.tuned().speedup_low, at_work.tuned().speedup_high
    assert f"({low:.2f} to {high:.2f}) over the default, raced in 2 rounds" in shown


def test_figures_have_three_digits_and_a_unit(run):
    _, path = run
    number = max(stored.trial.number for stored in Store(str(path), read_only=True).trials()) - 1
    shown = printed(100, "show", number, "--store", path)
    assert "load    s   12.3\n" in shown
    assert "steady  ms  123  130  119" in shown
    assert "near: PSNR 31.2 dB, SSIM 0.988, latent error 1.23e-05" in shown.replace(
        "lossless", "near"
    )
    assert "over the default of trial" in shown and "not raced" in shown


def test_a_log_is_shown_as_it_is(run):
    _, path = run
    number = max(stored.trial.number for stored in Store(str(path), read_only=True).trials())
    assert "Log\na log\n" in (shown := printed(100, "show", number, "--store", path))
    assert "with [bold]lines" in shown


def test_what_is_piped_is_a_page_of_text(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert [console().width for console in (stdout, stderr)] == [100, 100]
    monkeypatch.setenv("COLUMNS", "72")
    assert [console().width for console in (stdout, stderr)] == [72, 72]


@pytest.mark.parametrize("name", sorted(main.commands))
def test_the_help_of_each_command_fits_and_has_an_example(name):
    shown = printed(80, name, "--help")
    assert [line for line in shown.splitlines() if len(line) > 80] == []
    assert f"Example: tune {name}" in shown
