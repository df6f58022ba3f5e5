"""What is known before a search begins: the table of the package and the user's own ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from search_space.knob import Context
from storage import Store, StoredTrial
from tuner.search.evidence import evidence_of
from tuner.search.prior import Prior, shipped

OTHER_TRIALS = 2000
"""The most trials of other studies from which a search learns: they are read within a second."""

SAME_MODEL, SAME_MACHINE, OTHER_MACHINE = 0.1, 0.2, 0.3
"""How far effects differ, in logarithms of latency, between sizes of one model on one machine,
between models on one machine, and between machines of a kind."""


@dataclass(frozen=True)
class Knowledge:
    """The prior of a search, and from how many of the user's own studies it is made."""

    prior: Prior
    studies: int

    def describe(self) -> str:
        """From what it is made: ``3 studies in the store; the package's table (...)``."""
        table = "; ".join(self.prior.provenance)
        own = "1 study" if self.studies == 1 else f"{self.studies} studies"
        parts = [f"{own} in the store"] if self.studies else []
        parts += [f"the package's table ({table})"] if table else []
        return ", ".join(parts) or "nothing: no earlier study, no table for this device"


def knowledge(context: Context, others: Sequence[StoredTrial]) -> Knowledge:
    """What is known for a search, from trials of other workloads, machines or versions."""
    prior, count = shipped(context), 0
    studies: dict[tuple[str, str, str], list[StoredTrial]] = defaultdict(list)
    for stored in others:
        machine = stored.machine
        key = machine.fingerprint, machine.software_fingerprint, stored.workload.fingerprint
        if stored.trial.purpose.is_searched:
            studies[key].append(stored)
    for stored_trials in studies.values():
        same_model = stored_trials[0].workload.model == context.workload.model
        # What weights make of a peak is known of this model alone.
        spec = context.spec if same_model else None
        evidence = evidence_of([stored.trial for stored in stored_trials], spec=spec)
        if evidence is not None:
            first = stored_trials[0]
            evidence = evidence.like(first.machine, context.machine)
            prior = prior.updated(evidence, _discrepancy(context, first))
            count += 1
    return Knowledge(prior, count)


def others(store: Store, context: Context) -> list[StoredTrial]:
    """The latest trials of this kind of device for other workloads, machines or versions."""
    stored_trials = store.of_device(context.machine.device, OTHER_TRIALS)
    return [each for each in stored_trials if not each.same_as(context.machine, context.workload)]


def _discrepancy(context: Context, stored: StoredTrial) -> float:
    if stored.machine.fingerprint != context.machine.fingerprint:
        return OTHER_MACHINE
    return SAME_MODEL if stored.workload.model == context.workload.model else SAME_MACHINE
