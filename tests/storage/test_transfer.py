"""Trials are deleted whole, and copied once from another store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search_space.budget import Budget
from search_space.config import Config
from search_space.trial import Measurement, Peak, Purpose, Trial
from storage import Store
from tests.storage.test_figures import rows, took

FAST = Config({"dtype": "bfloat16"})
PARTS = ("sample", "memory", "fidelity", "condition", "work", "failure", "proposal", "figures")


def fill(store: Store, machine, workload, space, trials) -> int:
    study = store.open_study(machine, workload, Budget(), space)
    for trial in trials:
        store.add(study, trial)
    return study


def speedups(url: str) -> list[tuple[object, ...]]:
    return rows(url, "SELECT number, baseline, speedup FROM trial_summary ORDER BY number")


@pytest.fixture
def trials(measured_trial, failed_trial) -> list[Trial]:
    return [took(4.0, purpose=Purpose.BASELINE), took(2.0, config=FAST), failed_trial]


def test_what_is_deleted_leaves_nothing_and_its_number_is_not_used_again(
    shared_url, machine, workload, space, trials
):
    with Store(shared_url) as store:
        fill(store, machine, workload, space, trials)
        other = fill(store, machine, replace(workload, height_px=64), space, trials)
        assert store.delete([1, 2, 3, 99]) == 3
        for table in PARTS:
            column = rows(shared_url, f"SELECT DISTINCT trial_number FROM {table}")
            assert not {number for (number,) in column} & {1, 2, 3}
        assert rows(shared_url, "SELECT height_px FROM workload") == [(64,)]
        assert store.delete([6]) == 1
        assert store.add(other, trials[2]).number == 7


def test_without_its_baseline_a_trial_is_compared_with_another(
    shared_url, machine, workload, space, trials
):
    with Store(shared_url) as store:
        fill(store, machine, workload, space, [took(8.0), *trials])
        assert speedups(shared_url)[2] == (3, 2, 2.0)
        store.delete([2])
        assert speedups(shared_url)[1] == (3, 1, 4.0)
        store.delete([1])
        assert speedups(shared_url)[0] == (3, None, None)


@pytest.mark.parametrize("kind", ["file", "postgresql"])
def test_another_store_is_merged_once(
    tmp_path, request, kind, machine, workload, space, trials, measured_trial
):
    own = (
        request.getfixturevalue("postgresql") if kind == "postgresql" else f"sqlite:///{tmp_path}/a"
    )
    theirs = f"sqlite:///{tmp_path}/b"
    beside = replace(measured_trial, incumbent=2)
    with Store(own) as mine, Store(theirs) as other:
        fill(mine, machine, workload, space, trials[:1])
        elsewhere = replace(machine, device_name="NVIDIA H100")
        fill(other, machine, workload, space, [*trials, beside])
        fill(other, elsewhere, workload, space, trials[:2])
        merged = mine.merge(other)
        assert (merged.added, merged.known, merged.studies) == (6, 0, 1)
        again = mine.merge(other)
        assert (again.added, again.known, again.studies) == (0, 6, 0)
        copies = [stored.trial for stored in mine.trials()]
        originals = [stored.trial for stored in other.trials()]
        assert [replace(c, number=0, incumbent=None) for c in copies[1:]] == [
            replace(o, number=0, incumbent=None) for o in originals
        ]
        assert copies[4].incumbent == 3
    told = speedups(own)
    assert told[2] == (3, 2, 2.0) and told[6] == (7, 6, 2.0)


def test_races_of_one_name_stay_apart(tmp_path, machine, workload, space):
    peaks = (Peak("host", "steady", "rss", 2**30),)

    def round_of(seconds: float) -> Trial:
        measured = Measurement({"steady": (seconds,)}, peaks)
        return Trial(FAST, measured, 1.0, "2026-01-31", purpose=Purpose.RACE, race="r", round=1)

    with Store(str(tmp_path / "a")) as mine, Store(str(tmp_path / "b")) as other:
        fill(mine, machine, workload, space, [round_of(1.0)])
        fill(other, machine, workload, space, [round_of(2.0), round_of(3.0)])
        mine.merge(other)
        mine.merge(other)
        first, *merged = [stored.trial.race for stored in mine.trials()]
        assert first == "r" and len(merged) == 2 and set(merged) != {"r"}
        assert len(set(merged)) == 1
        fresh = Store(str(tmp_path / "c"))
        fresh.merge(other)
        assert {stored.trial.race for stored in fresh.trials()} == {"r"}
        fresh.close()
