from __future__ import annotations

from dataclasses import replace

import pytest

from search_space.budget import Budget
from search_space.config import Config
from search_space.trial import Failure, FailureKind, Measurement, Peak
from search_space.workload import Workload
from tuner.records.job import Job
from tuner.runners.base import Deadlines
from tuner.runners.replay import CALLS, TURNS, Recorded, ReplayRunner

GIB = 2**30
BF16 = Config({"precision": "bf16"})
CRASHES = Config({"precision": "fp16"})
SECONDS = {
    "start": (0.5,),
    "load": (4.0,),
    "first_call": (3.0,),
    "second_call": (2.0,),
    "steady": (2.0,),
    "text_encoding": (0.2,),
    "step": (0.4, 0.4),
    "decode": (1.0,),
    "check": (3.0,),
}
PEAKS = (
    Peak("host", "load", "written down", 4 * GIB),
    Peak("device", "load", "written down", 2 * GIB),
    Peak("device", "steady", "written down", 6 * GIB),
)
WITHOUT = Deadlines(600.0)
WITH_ONE_CALL_S = 14.5
"""The seconds above: those of the parts are within the calls."""


class Written:
    """A table of two configs: one runs, the other crashes."""

    def recorded(self, config: Config) -> Recorded:
        failure = Failure(FailureKind.CRASH, "it crashes", "load")
        return {
            BF16: Recorded(Measurement(SECONDS, PEAKS), WITH_ONE_CALL_S),
            CRASHES: Recorded(failure, 4.5),
        }[config]


def job(config: Config = BF16, **facts: object) -> Job:
    known = {"device": "cuda", "cache_dir": "", "folder": ""}
    return Job(Workload("model"), config=config, **{**known, **facts})  # type: ignore[arg-type]


def replayed(runner: ReplayRunner, each: Job, deadlines: Deadlines = WITHOUT):
    return runner(each, deadlines, lambda phase: None)


def test_a_trial_is_what_the_table_says():
    trial = replayed(ReplayRunner(Written()), job())
    assert trial.config == BF16
    assert trial.measurement.seconds["steady"] == (2.0,) * CALLS
    assert trial.measurement.seconds["step"] == (0.4,) * 2 * CALLS
    assert trial.measurement.seconds["load"] == (4.0,)
    assert trial.measurement.peaks == PEAKS


def test_it_charges_what_the_table_says_and_the_calls_that_it_made():
    runner = ReplayRunner(Written())
    costs_s = [replayed(runner, job(config)).cost_s for config in (BF16, CRASHES, BF16)]
    assert costs_s == pytest.approx([WITH_ONE_CALL_S + 4.0, 4.5, WITH_ONE_CALL_S + 4.0])
    assert runner.charged_s == pytest.approx(sum(costs_s))


def test_noise_is_the_same_for_a_seed_and_another_for_another_one():
    def steady_s(seed: int) -> list[float]:
        runner = ReplayRunner(Written(), noise=0.03, seed=seed)
        trials = [replayed(runner, job()) for _ in range(2)]
        return [call_s for trial in trials for call_s in trial.measurement.seconds["steady"]]

    assert steady_s(1) == steady_s(1)
    assert not set(steady_s(1)) & set(steady_s(2))
    assert len(set(steady_s(1))) == 2 * CALLS


def test_noise_is_as_large_as_asked_for():
    import numpy

    runner = ReplayRunner(Written(), noise=0.03)
    latencies_s = [replayed(runner, job()).measurement.latency_s for _ in range(500)]
    assert numpy.log(latencies_s).std() == pytest.approx(0.03, rel=0.25)


def test_the_parts_of_a_call_are_spread_as_the_call_is():
    seconds = replayed(ReplayRunner(Written(), noise=0.05), job()).measurement.seconds
    for call, call_s in enumerate(seconds["steady"]):
        of_call = seconds["step"][2 * call : 2 * call + 2]
        parts_s = seconds["text_encoding"][call] + sum(of_call) + seconds["decode"][call]
        assert parts_s == pytest.approx(call_s)


def test_a_call_beyond_the_cap_is_the_last_and_the_others_are_not_charged():
    trial = replayed(ReplayRunner(Written()), job(cap_s=1.0))
    assert trial.measurement.seconds["steady"] == (2.0,)
    assert len(trial.measurement.seconds["step"]) == 2
    assert trial.cost_s == pytest.approx(WITH_ONE_CALL_S)


def test_a_deadline_ends_a_trial_at_its_phase():
    trial = replayed(ReplayRunner(Written()), job(), Deadlines(600.0, call_s=2.5))
    assert trial.outcome.kind is FailureKind.TIMEOUT
    assert trial.outcome.phase == "first_call"
    assert trial.cost_s == pytest.approx(0.5 + 4.0 + 2.5)
    late = replayed(ReplayRunner(Written()), job(), Deadlines(5.0))
    assert (late.outcome.kind, late.cost_s) == (FailureKind.TIMEOUT, pytest.approx(5.0))


def test_a_budget_is_enforced_where_memory_runs_out():
    on_device = replayed(ReplayRunner(Written()), job(budget=Budget(5 * GIB)))
    assert on_device.outcome.kind is FailureKind.DEVICE_OUT_OF_MEMORY
    assert on_device.outcome.phase == "steady"
    on_host = replayed(ReplayRunner(Written()), job(budget=Budget(host_bytes=GIB)))
    assert on_host.outcome.kind is FailureKind.HOST_OUT_OF_MEMORY
    assert on_host.cost_s == pytest.approx(4.5)
    measured = replayed(ReplayRunner(Written()), job(budget=Budget(host_bytes=3 * GIB)))
    assert measured.judged(Budget(host_bytes=3 * GIB)).kind is FailureKind.OVER_MEMORY


def test_interleaved_calls_of_a_turn_share_what_slows_the_machine():
    runner = ReplayRunner(Written(), noise=0.05)
    jobs = [job(), job(), job(CRASHES)]
    first, second, crashed = runner.interleaved(jobs, Deadlines(600.0), lambda job, phase: None, 7)
    assert isinstance(crashed.outcome, Failure)
    turns = [trial.measurement.turns_s() for trial in (first, second)]
    assert list(turns[0]) == list(turns[1]) == list(range(7, 7 + TURNS))
    assert turns[0] != turns[1]


def test_phases_are_announced_in_their_order():
    phases = []
    ReplayRunner(Written())(job(), Deadlines(600.0), phases.append)
    assert phases == ["start", "load", "first_call", "second_call", "steady", "check"]


def test_an_output_is_left_where_one_is_asked_for(tmp_path):
    output = tmp_path / "baseline.npz"
    replayed(ReplayRunner(Written()), replace(job(), output=str(output)))
    assert output.exists()
