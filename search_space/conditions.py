"""Readings of the machine beside the samples of a trial."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Condition:
    """A reading of the machine beside a sample or, where none is named, beside the trial.

    ``kind`` names the value and its unit, ``sample`` and ``position`` are the sample's kind and
    place. ``complaint`` says why the time is not to be trusted; it is empty where it is.
    """

    kind: str
    value: float
    complaint: str = ""
    sample: str = ""
    position: int = 0


OTHERS_CORES = "others_cores"
"""The kind of condition that says how many cores other processes took."""

RECOMPILES = "recompiles"
"""The kind of condition that lies with the config and not with the machine."""


def complaints(conditions: Iterable[Condition]) -> str | None:
    """The worst complaint of each kind, and of how many samples it is true; or None."""
    kinds: dict[str, list[Condition]] = {}
    for condition in conditions:
        if condition.complaint:
            kinds.setdefault(condition.kind, []).append(condition)
    sentences = []
    for group in kinds.values():
        worst = max(group, key=lambda condition: condition.value)
        where = f" ({len(group)} x {worst.sample})" if worst.sample else ""
        sentences.append(worst.complaint + where)
    return "; ".join(sentences) or None
