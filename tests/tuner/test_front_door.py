"""``import tuner``: tune, load, History and the errors, as an application uses them."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import tuner
from search_space import errors
from tuner.cli.main import main
from tuner.records.request import Options, request_of

SMALL = {"height": 64, "width": 64, "steps": 1, "race_rounds": 0, "include": ["memory_format"]}


def test_the_errors_are_those_that_are_raised():
    assert (tuner.TuneError, tuner.UsageError) == (errors.TuneError, errors.UsageError)
    with pytest.raises(AttributeError, match="no attribute 'tuned'"):
        _ = tuner.tuned


def test_importing_it_is_quick_and_imports_nothing_heavy():
    code = "import sys, time; began = time.process_time(); import tuner\n"
    code += "heavy = {'torch', 'diffusers', 'sqlalchemy', 'optuna', 'numpy', 'rich', 'click'}\n"
    code += "print(time.process_time() - began, *heavy & set(sys.modules))"
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    assert [run.stdout.split()[1:] for run in runs] == [[], [], []]
    # Of the processor's time: other processes do not count.
    assert statistics.median(float(run.stdout.split()[0]) for run in runs) < 0.05


def test_every_option_of_the_command_line_is_one_of_python():
    params = {param.name for param in main.commands["run"].params}
    beside = {"model", "output", "store", "json_wanted", "explain"}
    assert params - beside == set(Options.__annotations__)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -5}, "--seed -5 is out of range: give 0 to"),
        ({"seed": 2**63}, "is out of range"),
        ({"guidance_scale": float("nan")}, "--guidance-scale nan is no number"),
        ({"guidance_scale": float("inf")}, "--guidance-scale inf is no number"),
        ({"prompt": "caf\udce9"}, "--prompt holds bytes that are not UTF-8"),
        ({"height": 0}, "--height 0 is no count"),
        ({"batch_size": -1}, "--batch-size -1 is no count"),
        ({"trials": 0}, "--trials 0 is no count"),
        ({"memory": "lots"}, "'lots' is not a size"),
        ({"memory": 0}, "leaves no memory at all"),
        ({"time_limit": -1.0}, "-1.0 is no duration"),
        ({"time_limit": "soon"}, "'soon' is not a duration"),
        ({"quality": "perfect"}, "there is no quality 'perfect'"),
        ({"objective": "beauty"}, "there is no objective 'beauty'"),
        ({"objective": "session"}, "a session has a number of images"),
        ({"race_rounds": 1}, "one round has no spread"),
        ({"fix": {"precison": "bf16"}}, "did you mean 'precision'?"),
        ({"hight": 64}, "there is no option 'hight'"),
    ],
)
def test_what_is_out_of_range_is_a_usage_error_before_anything_starts(options, message):
    with pytest.raises(tuner.UsageError) as caught:
        tuner.tune("reference:sd15-tiny", progress=False, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sizes_and_durations_are_numbers_or_text():
    request = request_of("m", memory="8GiB", time_limit="1h30m", trial_timeout=90)
    assert (request.budget.memory_bytes, request.time_limit_s) == (8 * 2**30, 5400.0)
    assert request.trial_timeout_s == 90
    assert request_of("m", prompt="a horse").workload.prompts == ("a horse",)
    assert request_of("m", prompt=["a", "b"], batch_size=2).workload.prompts == ("a", "b")
    assert request_of("m", fix={"precision": "bf16"}).fix == {"precision": "bf16"}


def test_a_model_is_tuned_loaded_and_found_in_the_history(tiny_cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbers = []
    result = tuner.tune(
        "reference:sd15-tiny",
        **SMALL,
        trials=2,
        cache_dir=tiny_cache,
        store="history.db",
        progress=False,
        on_trial=lambda trial: numbers.append(trial.number),
    )
    assert numbers == [trial.number for trial in result.trials] == [1, 2]
    assert result.speedup is result.speedup_interval is None
    assert result.best.latency_s > 0
    assert result.baseline.config.is_baseline
    assert result.folder.parent == Path("tuned/sd15-tiny")
    assert result.folder.name.startswith("64x64-")
    image = result.load()("a horse", height=64, width=64, num_inference_steps=1).images[0]
    assert image.size == (64, 64)
    assert type(tuner.load("tuned")) is type(result.load())
    history = tuner.History("history.db")
    assert [stored.trial.number for stored in history.trials()] == [1, 2]
    assert history.trial(2).workload.height_px == 64
    (winner,) = history.best()
    assert winner.stored.trial.config == result.best.config
    with pytest.raises(tuner.UsageError, match="no trial 9"):
        history.trial(9)
