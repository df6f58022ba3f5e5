from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import tuner
from search_space.config import BASELINE, Config
from search_space.errors import UsageError
from search_space.trial import Condition, Failure, FailureKind, Measurement, Trial
from storage import Store
from tests.benchmarks.search.__main__ import Tabled, whole_tables
from tests.benchmarks.search.enumeration import Configs
from tests.benchmarks.search.machines import draw_machine
from tests.benchmarks.search.replaying import replay
from tests.benchmarks.search.spaces import SMALL
from tests.benchmarks.search.tables import QUANTILES, RealTable, WithinBudget, read, write
from tests.benchmarks.table import newer, recorded, table_of
from tuner.runners.replay import Recorded

MACHINE = draw_machine(4, SMALL)


@pytest.fixture(scope="module")
def table() -> RealTable:
    """All configs of a synthetic machine, as if each had been measured."""
    configs = (MACHINE.valid.config(row) for row in range(len(MACHINE.valid)))
    outcomes = {config: MACHINE.recorded(config) for config in configs}
    return RealTable(MACHINE.space.context, dict(MACHINE.space.open), outcomes)


def test_a_table_is_kept_and_read_with_its_space_and_outcomes(table, tmp_path):
    path = tmp_path / "machine.json.gz"
    write(path, table)
    again = read(path)
    assert again.missing == 0
    assert again.space.open == table.space.open == MACHINE.space.open
    assert again.outcomes.keys() == table.outcomes.keys()
    for config, each in table.outcomes.items():
        kept = again.outcomes[config]
        assert isinstance(kept.outcome, Measurement) == isinstance(each.outcome, Measurement)
        if isinstance(each.outcome, Measurement):
            assert kept.outcome.peaks == each.outcome.peaks
            assert kept.outcome.latency_s == pytest.approx(each.outcome.latency_s, abs=1e-5)
    write(tmp_path / "again.json.gz", again)
    assert path.read_bytes() == (tmp_path / "again.json.gz").read_bytes()


@pytest.mark.parametrize("quantile", QUANTILES)
def test_the_optimum_of_a_table_is_its_fastest_config_within_the_budget(table, quantile):
    within = WithinBudget("machine", table, quantile)
    limit_bytes = within.budget.memory_bytes
    latencies_s = {
        config: each.outcome.latency_s
        for config, each in table.outcomes.items()
        if MACHINE.landscape.works(row_of(config))[0] and each.outcome.peak_bytes <= limit_bytes
    }
    config, latency_s = within.optimum
    assert latency_s == min(latencies_s.values()) == latencies_s[config]
    assert within.true_latency_s(config) == latency_s


def row_of(config: Config) -> Configs:
    return Configs.of(MACHINE.space, config)


def test_a_table_is_searched(table):
    curve = replay(WithinBudget("table machine", table, 0.7), "descent", 1, 15)
    assert len(curve.fractions) == 15
    assert 0 < curve.fractions[-1] <= 1


def test_a_table_with_gaps_says_so_and_is_not_searched(table, tmp_path, capsys):
    gone = next(config for config in table.outcomes if config)
    outcomes = {config: each for config, each in table.outcomes.items() if config != gone}
    gaps, whole = tmp_path / "gaps.json.gz", tmp_path / "whole.json.gz"
    write(gaps, replace(table, outcomes=outcomes))
    write(whole, table)
    assert list(whole_tables([gaps, whole])) == [Tabled(whole, each) for each in QUANTILES]
    assert f"gaps.json.gz: 1 of {len(table.outcomes)} configs missing" in capsys.readouterr().err


def test_a_failure_is_kept_without_paths_and_without_its_log():
    message = "no file /home/someone/x.py\nCommand: cc /tmp/y"
    failure = Failure(FailureKind.CRASH, message, "load", "a long log")
    kept = recorded(Trial(BASELINE, failure, 3.0, "")).outcome
    assert (kept.message, kept.log) == ("no file …", "")


def test_what_was_measured_on_a_quiet_machine_stands():
    busy = Condition("others_cores", 1.0, "others took a core", "steady")
    measured = MACHINE.recorded(BASELINE).outcome

    def trial(cost_s: float, *conditions: Condition) -> Trial:
        return Trial(BASELINE, replace(measured, conditions=conditions), cost_s, "")

    def left(*trials: Trial) -> float:
        outcomes: dict[Config, Recorded] = {}
        for each in trials:
            outcomes |= newer([each], outcomes)
        return outcomes[BASELINE].cost_s

    assert left(trial(1.0), trial(2.0, busy)) == 1.0
    assert left(trial(1.0, busy), trial(2.0, busy)) == 2.0
    assert left(trial(1.0, busy), trial(2.0)) == 2.0
    assert newer([trial(1.0)], newer([trial(1.0)], {})) == {}


@pytest.mark.heavy
def test_a_table_is_made_of_a_real_store_and_grows(tmp_path: Path):
    url, out = str(tmp_path / "store.db"), tmp_path / "tiny.json.gz"
    pins = {"memory": "16GiB", "include": ["threads", "allocator"], "sampler": "exhaustive"}
    small = {"height": 64, "width": 64, "steps": 1, "trials": 2, "race_rounds": 0}
    tuner.tune("reference:sd15-tiny", store=url, progress=False, **pins, **small)
    with Store(url, read_only=True) as store:
        baseline, other = (each for each in store.trials() if each.trial.purpose.is_searched)
    write(out, table_of([baseline], None))
    first = read(out)
    assert set(first.outcomes) == {BASELINE}
    assert first.missing == len(first.space.valid) - 1
    write(out, table_of([other], first))
    second = read(out)
    assert set(second.outcomes) == {BASELINE, other.trial.config}
    assert [made.configs for made in second.made] == [1, 1]
    assert "--include threads" in second.made[0].command
    assert second.outcomes[BASELINE] == first.outcomes[BASELINE]


def test_an_empty_store_says_what_to_do():
    with Store("sqlite://") as store, pytest.raises(UsageError, match="run 'tune run'"):
        table_of(store.trials(), None)
