"""What other workloads and machines have shown is expected here, as far as it speaks of here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search_space.config import BASELINE, Config
from search_space.trial import Failure, FailureKind, Measurement, Peak, Purpose, Trial
from tests.tuner.simulation import GIB, Simulation, context, go, plan
from tuner.search.evidence import evidence_of
from tuner.search.knowledge import knowledge, others
from tuner.search.pooling import pooled
from tuner.search.prior import (
    CALL,
    NOTHING,
    UNKNOWN_RATE,
    Effect,
    Prior,
    from_json,
    shipped,
    to_json,
)

BF16 = ("precision", "bf16")


def trial(latency_s, **choices):
    outcome = Measurement({"steady": (latency_s,) * 3}, (Peak("host", "steady", "", GIB),))
    config = Config(choices)
    purpose = Purpose.BASELINE if config == BASELINE else Purpose.SEARCH
    return Trial(config, outcome, 10.0, "", purpose=purpose)


def test_evidence_is_relative_to_the_baseline():
    shown = evidence_of([trial(2.0), trial(1.0, precision="bf16")])
    mean, variance = shown.effects[CALL, *BF16]
    assert mean == pytest.approx(-0.69, abs=0.05)
    assert variance < 0.05**2


def test_without_a_baseline_there_is_no_evidence():
    assert evidence_of([trial(1.0, precision="bf16"), trial(2.0, precision="fp16")]) is None


def test_machines_that_differ_leave_a_wider_prior():
    def of(latency_s):
        return evidence_of([trial(2.0), trial(latency_s, precision="bf16")])

    like = pooled([of(1.0), of(1.02), of(0.98)]).effects[CALL, *BF16]
    unlike = pooled([of(1.0), of(1.9), of(0.5)]).effects[CALL, *BF16]
    assert like.mean == pytest.approx(-0.69, abs=0.1)
    assert like.sd < 0.2 < unlike.sd


def test_a_choice_that_failed_on_one_of_two_machines_may_fail_on_the_third():
    failed = Trial(Config({"precision": "bf16"}), Failure(FailureKind.CRASH, ""), 1.0, "")
    fine = evidence_of([trial(2.0), trial(1.0, precision="bf16")])
    broken = evidence_of([trial(2.0), failed])
    assert pooled([fine]).fails[BF16] < UNKNOWN_RATE
    assert pooled([fine, broken]).fails[BF16] > 0.2


def test_a_table_is_read_as_it_was_written():
    prior = Prior({(CALL, *BF16): Effect(-0.5, 0.1)}, {BF16: 0.1}, {BF16: 0.2}, ("a machine",))
    assert from_json(to_json(prior)) == prior


def test_a_dtype_that_is_emulated_here_is_another_choice_than_a_native_one():
    machine = replace(context().machine, native_dtypes=("fp32",))
    native = Prior({(CALL, *BF16): Effect(-0.7, 0.1)}, {BF16: 0.1})
    emulated = Prior({(CALL, "precision", "bf16 emulated"): Effect(0.9, 0.1)})
    assert native.on(machine) == NOTHING
    assert emulated.on(machine).effects == {(CALL, *BF16): Effect(0.9, 0.1)}
    assert native.on(context().machine) == native


def test_the_package_knows_the_kind_of_device_or_nothing(tmp_path):
    assert shipped(context("hpu")) == NOTHING
    assert shipped(context("cuda")).knows(BF16)


@pytest.mark.heavy
def test_another_size_of_the_model_is_known_from_the_users_own_ledger(tmp_path, store):
    go(plan(tmp_path, trials=12), store, Simulation())
    here = context()
    larger = replace(here, workload=replace(here.workload, height_px=768))
    found = knowledge(larger, others(store, larger))
    assert found.studies == 1
    effect = found.prior.effects[CALL, *BF16]
    assert effect.mean == pytest.approx(-0.69, abs=0.2)
    assert others(store, here) == []
