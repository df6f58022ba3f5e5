"""The faults that need no pipeline, and the table of those that the docs show."""

from __future__ import annotations

import pytest

from tests.faults.declared import FAULTS
from tests.faults.fault import COUNTS, Fault
from tests.faults.injecting import inject
from tests.faults.rows import read

QUICK = [fault for fault in FAULTS.declared if fault.quick]


@pytest.mark.parametrize("fault", QUICK, ids=lambda fault: f"{fault.kind}: {fault.name}")
def test_nothing_is_lost_left_or_executed(fault: Fault, tmp_path):
    row = inject(fault, tmp_path, tmp_path)
    if row.skipped:
        pytest.skip(row.skipped)
    assert row.wrong == ()
    assert {count: getattr(row, count) for count in COUNTS} == dict.fromkeys(COUNTS, 0)


def test_the_table_of_the_docs_has_every_fault_and_nothing_wrong():
    kept = read()
    assert list(kept) == [f"{fault.kind}: {fault.name}" for fault in FAULTS.declared]
    fallen = {
        name: facts
        for name, facts in kept.items()
        if facts["wrong"] or any(facts[count] for count in COUNTS)
    }
    assert fallen == {}
