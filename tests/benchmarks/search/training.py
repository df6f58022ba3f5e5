"""``python -m tests.benchmarks.search.training``: a prior from machines that are never searched.

It plays the part that the table of the package plays for real machines, and is made by the same
functions; none of its machines is unlike the family.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from search_space.hardware.machine import Machine
from tuner.search.evidence import evidence_of
from tuner.search.prior import Evidence, Prior, from_json, pooled, to_json

LEDGERS = 24
"""Twelve a kind of device."""

TABLE = Path(__file__).with_name("training_prior.json")


@cache
def _table() -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))
    return facts


def training_prior(machine: Machine) -> Prior:
    """What the training machines of its kind let expect of a machine."""
    return from_json(_table()[machine.device]).on(machine)


def main() -> None:
    from tests.benchmarks.search.ledgers import training_ledgers

    evidence: dict[str, list[Evidence]] = {}
    for ledger in training_ledgers(LEDGERS):
        context = ledger.space.context
        shown = evidence_of(ledger.trials, spec=context.spec)
        if shown is not None:
            evidence.setdefault(context.machine.device, []).append(shown.kept(context.machine))
    priors = {
        device: to_json(pooled(each, [f"{len(each)} synthetic machines"]))
        for device, each in sorted(evidence.items())
    }
    TABLE.write_text(json.dumps(priors, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
