from __future__ import annotations

import json
from dataclasses import replace

import pytest

from search_space.budget import Budget
from search_space.config import Config
from search_space.hardware.machine import Machine
from search_space.trial import Condition, Failure, FailureKind, Measurement, Peak, Purpose, Trial
from search_space.workload import Workload
from storage import Store
from tests.tuner.drawing import drawn
from tuner.deploy.emit import emit, load_script
from tuner.history.read import History
from tuner.measuring.roofline import reached, work_of_trials
from tuner.records.figures import figures
from tuner.records.progress import Ending
from tuner.records.tuned import TunedConfig
from tuner.report.contact_sheet import columns
from tuner.report.format import latency
from tuner.report.result import closing_remarks, limit_text, result_json
from tuner.report.trial import latency_text, stored_json, stored_text
from tuner.report.trials import trials_table
from tuner.result import Result

NEIGHBOUR = Condition("others_cores", 0.9, "other processes took 0.9 cores", "steady", 1)
COMPILED = Condition("recompiles", 1, "torch compiled anew 1 times while calls were timed")
WORK = {
    "flops": 1e12,
    "weights_read": 1e9,
    "fp32_flops_per_s": 2e11,
    "bf16_flops_per_s": 8e11,
    "copied_bytes_per_s": 2e10,
}
PEAKS = (Peak("host", "steady", "VmHWM", 2**30),)


def trial(*conditions, latency_s=2.5, work=None):
    measured = Measurement({"steady": (latency_s,) * 3}, PEAKS, {}, conditions, work or {})
    return Trial(Config({}), measured, 9.0, "2026-01-01T00:00:00+00:00", purpose=Purpose.BASELINE)


@pytest.fixture
def tuned(tmp_path):
    def make(winner, baseline):
        machine = Machine("cpu", "a CPU", 2**33, 2**33, 2, "Linux", packages={"torch": "2.13.0"})
        work = work_of_trials([baseline, winner])
        both = [
            {**figures(one), **reached(work, one.measurement.latency_s)}
            for one in (winner, baseline)
        ]
        workload = Workload("reference:sd15-tiny")
        return TunedConfig(
            winner.config, "model", workload, machine, *both, None, "cache", "2026-01-01"
        )

    return make


def test_what_spoils_a_latency_stands_beside_it():
    assert latency(figures(trial())) == "2.5 s"
    assert latency(figures(trial(NEIGHBOUR))) == "2.5 s (disturbed)"
    assert latency(figures(trial(NEIGHBOUR, COMPILED))) == "2.5 s (disturbed, unstable)"


def test_the_flags_are_in_the_store_the_json_and_the_text(tmp_path):
    with Store(str(tmp_path / "history.db")) as store:
        study = store.open_study(Machine("cpu", "a CPU", 1, 1, 2, "L"), Workload("m"), Budget(), {})
        late = Failure(FailureKind.TIMEOUT, "late", "steady", conditions=(NEIGHBOUR,))
        store.add(study, trial(NEIGHBOUR, COMPILED, work=WORK))
        store.add(study, replace(trial(), outcome=late))
        disturbed, failed = store.trials()
    told = stored_json(disturbed)
    assert told["disturbed"] == "other processes took 0.9 cores (1 x steady)"
    assert told["unstable"] == COMPILED.complaint
    assert told["conditions"][0]["position"] == 1
    assert told["work"] == WORK
    assert stored_json(failed)["disturbed"] == told["disturbed"]
    shown = drawn(stored_text(disturbed))
    assert "disturbed    other processes took 0.9 cores" in shown
    assert "unstable     torch compiled anew" in shown
    (record, _) = History(str(tmp_path / "history.db")).records
    listed = drawn(trials_table([record]))
    assert "2.5 s *" in listed
    assert "* disturbed or unstable: 'tune show TRIAL' says by what" in listed


def test_the_flags_are_in_the_result_and_in_what_is_emitted(tmp_path, tuned):
    result = tuned(trial(NEIGHBOUR), trial(work=WORK))
    reason = "the best of the race"
    told = result_json(Result(result, tmp_path, (trial(),), (), 0, Ending.TRIALS, reason))
    assert told["best"]["disturbed"] and told["baseline"]["disturbed"] is None
    assert "2.5 s (disturbed) a call" in load_script(result)
    assert columns(result, 10)[1] == "tuned, 2.5 s (disturbed)"
    written = json.loads((emit(result, tmp_path / "out") / "config.json").read_text())
    assert written["tuned"]["disturbed"] == told["best"]["disturbed"]
    assert TunedConfig.read(tmp_path / "out").tuned["utilization"] == pytest.approx(0.5)


def test_the_share_of_the_limit_is_told_for_the_best_and_the_default(tuned):
    default = trial(latency_s=5.0, work=WORK)
    faster = replace(trial(latency_s=2.5), config=Config({"precision": "bf16"}))
    assert limit_text(tuned(faster, default)) == (
        "The best config reaches 50 % of this machine's bf16 peak, the default 25 %."
    )
    assert (
        limit_text(tuned(default, default))
        == "The default reaches 25 % of this machine's bf16 peak."
    )
    assert limit_text(tuned(trial(), trial())) is None


def test_images_a_second_are_told_where_they_are_what_counts(tuned):
    best = tuned(
        replace(trial(latency_s=0.5), config=Config({"precision": "bf16"})), trial(latency_s=2.0)
    )
    assert closing_remarks(best) == []
    (told,) = closing_remarks(replace(best, objective="throughput"))
    assert told == "The best config makes 2 images a second, the default 0.5."


def test_a_latency_is_told_with_its_interval():
    assert latency_text([1.0]) == "1 s a call, measured once"
    told = latency_text([1.0, 1.01, 0.99], "an image")
    assert told == "1 s an image ± 31.1 ms (95 %), scatter 1.5 %"
