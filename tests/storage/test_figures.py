"""What is kept of a trial's readings is what the readings come to, and two views show it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from search_space.budget import Budget
from search_space.config import BASELINE, Config
from search_space.errors import StoreError
from search_space.knob import Tier
from search_space.trial import INCUMBENT, INCUMBENT_KNOWN, Measurement, Peak, Purpose, Trial
from storage import Store
from storage.migrations import revisions
from storage.summary import COLUMNS
from tests.postgresql import as_sqlalchemy
from tests.storage.versions import VERSION_5, store_of
from tuner.records.figures import figures
from tuner.report.trials import trial_state

BEGAN = "2026-01-31T12:00:00+00:00"
VERSION_12 = Path(__file__).with_name("version_12.sql")


def took(*steady_s: float, config: Config = BASELINE, **facts: object) -> Trial:
    peaks = (Peak("host", "steady", "rss", 2**30), Peak("device", "steady", "allocator", 2**31))
    measured = Measurement({"load": (2.0,), "first_call": (5.0,), "steady": steady_s}, peaks)
    return Trial(config, measured, 9.0, BEGAN, **facts)


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    engine = create_engine(as_sqlalchemy(url))
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.exec_driver_sql(query)]
    engine.dispose()
    return found


@pytest.fixture
def filled(shared_url, machine, workload, space, measured_trial, failed_trial):
    """Two studies of one workload, the second with a budget and a quality; and its URL."""
    beside = Measurement(
        {"steady": (2.0, 9.0, 2.2), INCUMBENT: (4.0, 18.0, 4.4), INCUMBENT_KNOWN: (3.0,)},
        (Peak("host", "steady", "rss", 2**29), Peak("device", "steady", "allocator", 2**30)),
        turns={"steady": (0, 1, 2), INCUMBENT: (0, 1, 2)},
        fidelity={"psnr_db": 12.0, "ssim": 0.4},
    )
    fast = Config({"dtype": "bfloat16"})
    with Store(shared_url) as store:
        first = store.open_study(machine, workload, Budget(), space)
        store.add(first, took(4.0, 5.0, 4.5, purpose=Purpose.BASELINE))
        store.add(first, measured_trial)
        store.add(first, failed_trial)
        store.add(first, replace(measured_trial, outcome=beside))
        second = store.open_study(machine, workload, Budget(2**30, quality=Tier.NEAR), space)
        store.add(second, took(1.0, config=fast, purpose=Purpose.RACE, race="r", round=1))
        store.add(second, took(3.0, purpose=Purpose.RACE, race="r", round=1))
    return shared_url


def test_the_figures_are_those_of_the_records(filled):
    names = "number, state, latency_s, peak_bytes, host_peak_bytes, psnr_db, tier"
    names += ", disturbed, unstable, failure, message, start_up_s"
    kept = {row[0]: row for row in rows(filled, f"SELECT {names} FROM trial_summary")}
    with Store(filled, read_only=True) as store:
        for stored in store.trials():
            trial = stored.trial
            told, failure = figures(trial), trial.judged(trial.budget)
            assert kept.pop(trial.number) == (
                trial.number,
                trial_state(trial),
                told["latency_s"],
                told["peak_bytes"],
                told["host_peak_bytes"],
                told["psnr_db"],
                told["tier"],
                told["disturbed"],
                told["unstable"],
                failure and failure.kind.value,
                failure and failure.message,
                trial.measurement and trial.measurement.start_up_s,
            )
    assert not kept


def test_a_speedup_is_over_the_baseline_before_it_and_in_a_race_over_that_of_its_round(filled):
    told = rows(filled, "SELECT number, baseline, speedup FROM trial_summary ORDER BY number")
    assert [row[:2] for row in told] == [(1, None), (2, 1), (3, 1), (4, 1), (5, 6), (6, None)]
    ratios = {number: speedup for number, _, speedup in told}
    assert ratios[2] == pytest.approx(4.5 / 4.7)
    assert ratios[4] == pytest.approx(4.5 / 1.5)  # Half of what the incumbent is known by.
    assert ratios[5] == pytest.approx(3.0)
    assert ratios[1] is ratios[3] is ratios[6] is None


def test_the_views_have_the_columns_that_are_documented_and_no_empty_text(filled):
    engine = create_engine(as_sqlalchemy(filled))
    for view in ("trial_summary", "best"):
        assert [column["name"] for column in inspect(engine).get_columns(view)] == list(COLUMNS)
    engine.dispose()
    for row in rows(filled, "SELECT * FROM trial_summary"):
        assert "" not in row
    sizes = rows(filled, "SELECT DISTINCT model, height, width, steps, device FROM trial_summary")
    assert sizes == [("sd-legacy/stable-diffusion-v1-5", 512, 512, 30, "NVIDIA H200")]


def test_best_is_the_fastest_of_the_search_of_each_study_within_its_limits(filled):
    # Of the second study there are trials of a race alone.
    assert rows(filled, "SELECT study, number, latency_s FROM best") == [(1, 4, 1.5)]


@pytest.mark.parametrize("version", [VERSION_5, VERSION_12], ids=["5", "12"])
def test_an_older_store_gets_figures_and_tokens(tmp_path, version):
    path = store_of(version, tmp_path)
    with Store(str(path)) as store:
        trials = {stored.trial.number: stored.trial for stored in store.trials()}
    kept = rows(f"sqlite:///{path}", "SELECT number, latency_s, state FROM trial_summary")
    assert {number: (latency_s, state) for number, latency_s, state in kept} == {
        number: (figures(trial)["latency_s"], trial_state(trial))
        for number, trial in trials.items()
    }
    tokens = [token for (token,) in rows(f"sqlite:///{path}", "SELECT token FROM trial")]
    assert None not in tokens and len(set(tokens)) == len(trials)
    again = store_of(version, tmp_path / "again")
    Store(str(again)).close()
    assert [token for (token,) in rows(f"sqlite:///{again}", "SELECT token FROM trial")] == tokens
    sizes = rows(f"sqlite:///{path}", "SELECT height_px, width_px, batch_size FROM workload")
    assert all(batch for *_, batch in sizes)


def test_a_store_of_the_version_before_is_told_of_when_it_is_read(tmp_path):
    path = store_of(VERSION_12, tmp_path)
    assert rows(f"sqlite:///{path}", "SELECT version_num FROM autotune_version") == [
        (revisions()[11],)
    ]
    with pytest.raises(StoreError, match="older version"):
        Store(str(path), read_only=True)
