"""The commands that read the store, on a store of several studies."""

from __future__ import annotations

import json

import pytest

from tests.tuner.history_store import numbers


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--model", "org/other"), [13]),
        (("--size", "96x128"), [11, 12]),
        (("--machine", "h200"), [13]),
        (("--machine", "2"), [13]),
        (("--state", "failed"), [3]),
        (("--state", "infeasible"), [4]),
        (("--where", "latency_s", "<", "500ms"), [13]),
        (("--where", "latency_s", "lt", "500ms"), [13]),
        (("--where", "latency_s", "gt", "7", "--where", "latency_s", "lt", "8.5"), [12]),
        (("--where", "peak_bytes", ">", "5GiB"), [4]),
        (("--where", "psnr_db", "=", "null", "--where", "state", "=", "measured"), [1, 11, 13]),
        (("--where", "failure", "!=", "null"), [3, 4]),
        (("--where", "failure", "=", "timeout"), [3]),
        (("--where", "failure", "!=", "timeout", "--where", "speedup", ">=", "3.9x"), [4]),
        (("--where", "config", "has", "memory_format=channels_last"), [3, 4, 12]),
        (("--where", "config", "=", "precision=bf16, memory_format=channels_last"), [4]),
        (("--where", "config", "has", "precision=fp32", "--size", "96x128"), [11, 12]),
        (
            ("--where", "config", "=", "baseline", "--where", "purpose", "=", "baseline"),
            [1, 11, 13],
        ),
        (("--where", "started_at", ">=", "2026-01-31T12:01"), [2]),
        (("--sort", "latency_s", "--limit", "2"), [13, 4]),
        (("--sort", "-latency_s", "--limit", "2"), [11, 12]),
        (("--sort", "model", "--sort", "-number", "--limit", "2"), [13, 12]),
        (("--limit", "3"), [11, 12, 13]),
        (("--where", "model", "=", "x' OR '1'='1"), []),
        (("--where", "model", "has", "%"), []),
    ],
)
def test_trials_are_filtered_and_sorted(tune, arguments, expected):
    assert numbers(tune, *arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--where", "latency", "<", "2"), "no field 'latency': did you mean latency_s?"),
        (("--where", "model; DROP TABLE trial", "=", "2"), "no field"),
        (("--where", "latency_s", "~", "2"), "no operator '~'"),
        (("--where", "model", "<", "2"), "model takes no <"),
        (("--where", "latency_s", "has", "2"), "latency_s takes no has"),
        (("--where", "latency_s", "<", "null"), "asks nothing"),
        (("--where", "latency_s", "<", "2 apples"), "not a duration"),
        (("--where", "peak_bytes", "<", "2 apples"), "not a size"),
        (("--where", "psnr_db", "<", "two"), "not a number"),
        (("--size", "64"), "not a size"),
        (("--sort", "speed"), "did you mean speedup?"),
        (("--columns", "number,speed"), "did you mean speedup?"),
    ],
)
def test_what_cannot_be_asked_is_one_line(tune, arguments, words):
    result = tune("trials", *arguments, status=2)
    assert words in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_columns_are_those_that_were_asked_for(tune):
    columns = ("--columns", "number,speedup,peak_bytes,config", "--state", "measured", "--limit", 2)
    told = json.loads(tune("trials", *columns, "--json").stdout)
    assert [list(row) for row in told] == [["number", "speedup", "peak_bytes", "config"]] * 2
    assert (told[0]["number"], told[0]["speedup"]) == (12, pytest.approx(9 / 8))
    assert told[0]["config"]["precision"] == "fp32"
    table = tune("trials", *columns).stdout
    assert "    12    1.12x    5.00 GiB  memory_format=channels_last" in table


def test_a_model_without_trials_is_told_with_those_that_have_some(tune):
    told = tune("trials", "--model", "org/smal")
    assert "there are some of: org/other, org/small" in told.stderr


def test_studies_are_listed(tune):
    told = json.loads(tune("studies", "--json").stdout)
    assert [(s["study"], s["trials"], s["failed"], s["races"]) for s in told] == [
        (1, 10, 1, 1),
        (2, 2, 0, 0),
        (3, 1, 0, 0),
    ]
    assert (told[0]["fastest_s"], told[0]["cost_s"], told[0]["quality"]) == (2.0, 200.0, "near")
    assert "on NVIDIA H200" in tune("studies").stdout
    assert [
        s["study"] for s in json.loads(tune("studies", "--size", "96x128", "--json").stdout)
    ] == [2]


def test_two_configs_of_a_race_are_compared_by_it(tune):
    told = json.loads(tune("compare", 1, 2, "--json").stdout)
    assert told["comparable"] and told["rounds"] == 3
    assert told["speedup"] == pytest.approx(2.0)
    assert told["speedup_low"] <= told["speedup"] <= told["speedup_high"]
    assert told["config_differences"] == [{"name": "precision", "first": "fp32", "second": "bf16"}]
    assert told["first"]["latency_low_s"] < 4.0 < told["first"]["latency_high_s"]
    text = tune("compare", 1, 2).stdout
    assert "precision  fp32     bf16" in text and "3 rounds of a race" in text


def test_trials_of_two_machines_or_sizes_are_not_comparable(tune):
    told = json.loads(tune("compare", 1, 13, "--json").stdout)
    assert not told["comparable"] and told["verdict"].startswith("not comparable")
    sizes = tune("compare", 1, 11).stdout
    assert "Not comparable: they differ in workload." in sizes and "height_px" in sizes
    assert "speed-up" not in sizes
    failed = json.loads(tune("compare", 1, 3, "--json").stdout)
    assert failed["speedup"] is None and "one of them failed" in failed["verdict"]
    assert "no trial 99" in tune("compare", 1, 99, status=2).stderr


def test_best_is_chosen_again_by_other_rules(tune):
    def best(*arguments):
        told = json.loads(tune("best", "org/small", *arguments, "--json").stdout)
        return [(winner["number"], winner["speedup"] is not None) for winner in told]

    assert best() == [(2, True), (12, False)]
    assert best("--quality", "lossless") == [(4, False), (12, False)]
    assert best("--memory", "5.5GiB") == [(2, True), (12, False)]
    assert best("--memory", "4.5GiB", "--quality", "lossy") == [(2, True)]
    assert best("--objective", "memory") == [(2, True), (11, False)]
    assert "4.50 GiB" in tune("best", "--memory", "4.5GiB").stdout


def test_pareto_has_what_nothing_beats(tune):
    told = json.loads(tune("pareto", "--json").stdout)
    assert [row["number"] for row in told] == [2, 12, 13]
