"""A prior from the evidence of several workloads and machines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy

from tuner.search.prior import (
    CALL,
    LEAST_SD,
    RATE_MACHINES,
    UNKNOWN_RATE,
    UNKNOWN_SD,
    Effect,
    Evidence,
    Key,
    Prior,
)

LONE_SD = 0.25
"""How far machines differ in an effect, before several have shown it."""

LONE_WEIGHT = 1.0
"""As many machines as that spread counts for."""

LARGE = 1.0
"""Effects are as large as this, offloading larger still: means are drawn to none only so far."""

ROUNDS = 5
"""After so many the spread between machines no longer changes."""


def pooled(evidence: Sequence[Evidence], provenance: Iterable[str] = ()) -> Prior:
    """The prior that the evidence of several workloads and machines makes for another one."""
    effects: dict[Key, Effect] = {}
    for key in sorted({key for each in evidence for key in each.effects}):
        pairs = [each.effects[key] for each in evidence if key in each.effects]
        effects[key] = _pooled_effect(key[0], pairs)
    return Prior(
        effects,
        _rates([each.failures for each in evidence]),
        _rates([each.too_far for each in evidence]),
        tuple(provenance),
    )


def _pooled_effect(output: str, pairs: Sequence[tuple[float, float]]) -> Effect:
    """The mean over machines, each weighed by how well it knows, and the spread between them."""
    unit = UNKNOWN_SD[output] / UNKNOWN_SD[CALL]
    means, variances = numpy.array(pairs).T
    between = (LONE_SD * unit) ** 2
    for _ in range(ROUNDS):
        weights = 1 / (variances + between)
        middle = float((weights * means).sum() / weights.sum())
        spread = float((weights * ((means - middle) ** 2 - variances)).sum() / weights.sum())
        shown = len(pairs) * max(spread, 0.0)
        guess = LONE_WEIGHT * (LONE_SD * unit) ** 2
        between = max((guess + shown) / (LONE_WEIGHT + len(pairs)), (LEAST_SD * unit) ** 2)
    # No effect at all is as likely as an effect of this size, before any was measured.
    total = float(weights.sum()) + 1 / (LARGE * unit) ** 2
    mean = float((weights * means).sum()) / total
    return Effect(mean, float(numpy.sqrt(between + 1 / total)))


def _rates(
    counts: Sequence[Mapping[tuple[str, str], float]],
) -> dict[tuple[str, str], float]:
    """On what share of machines each choice does not work, however often it was tried there."""
    rates = {}
    for choice in sorted({choice for each in counts for choice in each}):
        blamed = [each[choice] for each in counts if choice in each]
        usual = UNKNOWN_RATE * RATE_MACHINES
        rates[choice] = (sum(blamed) + usual) / (len(blamed) + RATE_MACHINES)
    return rates
