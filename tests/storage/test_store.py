from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import Engine, event

from search_space.budget import Budget
from search_space.config import Config
from search_space.errors import StoreError, UsageError
from search_space.hardware.machine import Machine
from search_space.knob import Tier
from search_space.trial import Condition, Failure, FailureKind, Measurement, Purpose, Trial
from search_space.workload import Workload
from storage import Store

GIB = 2**30
SEEN = (
    Condition("load_average", 1 / 3),
    Condition("others_cores", 0.9, "other processes took 0.9 cores", "steady", 1),
)


@contextmanager
def statements() -> Iterator[list[str]]:
    said: list[str] = []

    def keep(_connection, _cursor, statement, *_rest):
        said.append(statement)

    event.listen(Engine, "before_cursor_execute", keep)
    try:
        yield said
    finally:
        event.remove(Engine, "before_cursor_execute", keep)


@pytest.fixture
def study_id(store, machine, workload, space) -> int:
    return store.open_study(machine, workload, Budget(8 * GIB), space)


def test_a_measurement_comes_back_exactly(store, study_id, measured_trial):
    added = store.add(study_id, measured_trial)
    read = store.trial(added.number).trial
    assert read == added == replace(measured_trial, number=added.number)
    assert read.measurement.peaks == measured_trial.measurement.peaks


def test_a_failure_comes_back_exactly(store, study_id, failed_trial):
    added = store.add(study_id, failed_trial)
    assert store.trial(added.number).trial == replace(failed_trial, number=added.number)


@pytest.mark.parametrize(
    "outcome",
    [
        Measurement({}, ()),
        Measurement({"steady": (0.0, 5e-324, 1.7976931348623157e308)}, (), {"psnr_db": math.inf}),
        Measurement({"steady": (1.0,)}, (), conditions=SEEN, work={"flops": 1e12}),
        Measurement({"load": (3.0,), "steady": (1.0, 2.0)}, (), turns={"steady": (4, 5)}),
        Failure(FailureKind.TIMEOUT, ""),
        Failure(FailureKind.TIMEOUT, "late", conditions=SEEN),
        *(Failure(kind, "it failed", peak_bytes=2**62) for kind in FailureKind),
    ],
)
def test_every_kind_of_outcome_comes_back(store, study_id, outcome):
    added = store.add(
        study_id, Trial(Config({}), outcome, 0.1, "2026-01-31", purpose=Purpose.BASELINE)
    )
    read = store.trial(added.number).trial
    assert read.outcome == outcome
    assert read.purpose == "baseline"


def test_quality_belongs_to_the_study_and_to_its_trials(
    store, study_id, machine, workload, space, measured_trial
):
    strict_id = store.open_study(machine, workload, Budget(8 * GIB, quality=Tier.LOSSLESS), space)
    assert strict_id != study_id
    assert (
        store.open_study(machine, workload, Budget(8 * GIB, quality=Tier.LOSSLESS), space)
        == strict_id
    )
    added = store.add(strict_id, measured_trial)
    assert added.budget.quality is Tier.LOSSLESS
    assert store.trial(added.number).trial.budget.quality is Tier.LOSSLESS
    assert store.add(study_id, measured_trial).budget.quality is None


def test_every_metric_comes_back(store, study_id, measured_trial):
    fidelity = {"psnr_db": 33.0, "ssim": 0.97, "latent_error": 0.01, "floor_psnr_db": 120.0}
    trial = replace(measured_trial, outcome=replace(measured_trial.outcome, fidelity=fidelity))
    assert store.trial(store.add(study_id, trial).number).trial.outcome.fidelity == fidelity


def test_race_and_round_come_back(store, study_id, measured_trial):
    raced = replace(measured_trial, purpose=Purpose.RACE, race="b2:1f", round=3)
    read = store.trial(store.add(study_id, raced).number).trial
    assert (read.purpose, read.race, read.round) == ("race", "b2:1f", 3)


def test_an_objective_is_another_study(store, study_id, machine, workload, space, measured_trial):
    other = store.open_study(machine, workload, Budget(8 * GIB), space, "memory")
    assert other != study_id
    store.add(other, measured_trial)
    store.add(study_id, measured_trial)
    assert [stored.objective for stored in store.trials()] == ["memory", None]


def test_no_fidelity_is_none(store, study_id, measured_trial):
    reference = replace(measured_trial, outcome=replace(measured_trial.outcome, fidelity={}))
    assert store.trial(store.add(study_id, reference).number).trial.outcome.psnr_db is None


def test_a_log_of_stray_bytes_costs_no_trial(store, study_id):
    log = b"Segmentation \0 fault \xff".decode(errors="surrogateescape")
    failure = Failure(FailureKind.CRASH, "it died", log=log)
    number = store.add(study_id, Trial(Config({}), failure, 1.0, "2026-01-31")).number
    assert store.trial(number).trial.outcome.log == "Segmentation \ufffd fault \ufffd"


def test_the_whole_context_comes_back(store, study_id, machine, workload, measured_trial):
    store.add(study_id, measured_trial)
    (stored,) = store.trials()
    assert (stored.machine, stored.workload) == (machine, workload)
    assert stored.trial.budget == Budget(8 * GIB)


def test_what_is_added_has_number_and_budget(store, study_id, measured_trial, failed_trial):
    first, second = store.add(study_id, measured_trial), store.add(study_id, failed_trial)
    assert second.number > first.number > 0
    assert first.budget == Budget(8 * GIB)


def test_the_same_study_is_resumed(store, study_id, machine, workload, space):
    same = {knob: tuple(choices) for knob, choices in reversed(space.items())}
    assert store.open_study(machine, workload, Budget(8 * GIB), same) == study_id


def test_any_difference_is_another_study(store, study_id, machine, workload, space):
    others = [
        (replace(machine, cores=8), workload, Budget(8 * GIB), space),
        (replace(machine, packages={"torch": "2.11.0"}), workload, Budget(8 * GIB), space),
        (machine, replace(workload, steps=4), Budget(8 * GIB), space),
        (machine, workload, Budget(), space),
        (machine, workload, Budget(8 * GIB, GIB), space),
        (machine, workload, Budget(8 * GIB), {**space, "attention": ["sdpa", "xformers"]}),
        (machine, workload, Budget(8 * GIB), {**space, "dtype": ["bfloat16", "float32"]}),
    ]
    assert len({study_id, *(store.open_study(*other) for other in others)}) == 8


def test_probes_are_no_part_of_the_study(store, study_id, machine, workload, space):
    probed = replace(machine, probes={"xformers": "not installed"})
    assert store.open_study(probed, workload, Budget(8 * GIB), space) == study_id


def test_measured_ignores_budget_and_space(store, machine, workload, space, measured_trial):
    ours = [
        store.add(store.open_study(machine, workload, budget, knobs), measured_trial)
        for budget, knobs in [
            (Budget(8 * GIB), space),
            (Budget(), space),
            (Budget(host_bytes=GIB), {"dtype": ["float32"]}),
        ]
    ]
    assert store.of_workload(machine, workload) == ours
    assert [trial.budget for trial in ours] == [
        Budget(8 * GIB),
        Budget(),
        Budget(host_bytes=GIB),
    ]


def test_measured_leaves_out_what_cannot_be_compared(
    store, study_id, machine, workload, measured_trial
):
    store.add(study_id, measured_trial)
    assert store.of_workload(replace(machine, cores=8), workload) == []
    assert store.of_workload(replace(machine, packages={}), workload) == []
    assert store.of_workload(machine, replace(workload, seed=1)) == []


def test_a_config_is_kept_once(store, study_id, measured_trial, failed_trial):
    for config in ({"a": "1", "b": "2"}, {"b": "2", "a": "1"}, {}):
        store.add(study_id, replace(measured_trial, config=Config(config)))
    configs = [stored.trial.config for stored in store.trials()]
    assert configs == [{"a": "1", "b": "2"}, {"a": "1", "b": "2"}, {}]


def test_trials_of_one_model_or_study(store, study_id, machine, workload, space, measured_trial):
    flux = replace(workload, model="flux", model_fingerprint="b2:1e")
    flux_id = store.open_study(machine, flux, Budget(), space)
    first, second = store.add(study_id, measured_trial), store.add(flux_id, measured_trial)
    assert [stored.trial.number for stored in store.trials()] == [first.number, second.number]
    assert [stored.trial for stored in store.trials(model="flux")] == [second]
    assert [stored.trial for stored in store.trials(study_id=study_id)] == [first]
    assert store.trials(model="flux", study_id=study_id) == []
    assert store.trials(model="sdxl") == []


def test_a_model_is_found_by_its_latest_name(store, machine, workload, space, measured_trial):
    for name in ("/old/flux", "./flux"):
        study_id = store.open_study(machine, replace(workload, model=name), Budget(), space)
    store.add(study_id, measured_trial)
    assert [stored.workload.model for stored in store.trials(model="./flux")] == ["./flux"]
    assert store.trials(model="/old/flux") == []


def test_reading_takes_as_many_queries_for_many_trials(store, study_id, measured_trial):
    counts = []
    for _ in range(3):
        store.add(study_id, measured_trial)
        with statements() as said:
            store.trials()
        counts.append(sum("FROM" in statement for statement in said))
    assert counts == [8, 8, 8]


def test_a_trial_that_is_not_there(store):
    with pytest.raises(UsageError, match=r"^no trial 7 in .+: list them with 'tune trials'$"):
        store.trial(7)


def test_a_study_that_is_not_there(store, measured_trial):
    with pytest.raises(StoreError, match="no study 5 in"):
        store.add(5, measured_trial)


def test_a_trial_is_stored_whole_or_not_at_all(store, study_id, measured_trial):
    broken = Measurement({"load": (1.0,), "steady": (math.nan, None)}, ())
    with pytest.raises(StoreError) as caught:
        store.add(study_id, replace(measured_trial, outcome=broken))
    assert "\n" not in str(caught.value)
    assert store.trials() == []
    assert len([store.add(study_id, measured_trial), *store.trials()]) == 2


def test_a_number_that_is_too_large(store, machine, workload, space):
    with pytest.raises(StoreError) as caught:
        store.open_study(machine, workload, Budget(10**20), space)
    assert "\n" not in str(caught.value)
    assert store.trials() == []


def test_text_in_any_script_comes_back(store, machine, workload, space, measured_trial):
    poem = replace(workload, prompts=("宇航员骑马 🐎", "l'été\n\"\\"), model="modèle")
    store.add(store.open_study(machine, poem, Budget(), space), measured_trial)
    assert store.trials()[0].workload == poem


def test_a_store_in_memory_is_one_of_its_own(machine: Machine, workload: Workload, space):
    with Store("sqlite://") as one, Store("sqlite://") as other:
        one.add(
            one.open_study(machine, workload, Budget(), space),
            Trial(Config({}), Measurement({}, ()), 1, ""),
        )
        assert len(one.trials()) == 1
        assert other.trials() == []
