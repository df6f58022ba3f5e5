"""What is expected of each choice before any trial: from the user's own ledger and a table of ours.

Effects are relative to the baseline: natural logarithms of ratios for the parts of a call, the
whole call and the peak; for ``setup`` multiples of what the baseline takes beside its steady calls.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy
from numpy.typing import NDArray

from search_space.hardware.machine import Machine
from search_space.knob import Context
from tuner.search.candidates import Columns

Matrix = NDArray[numpy.float64]

CALL, PEAK, SETUP = "call", "peak", "setup"

UNKNOWN_SD = {"text_encoding": 0.35, "step": 0.35, "decode": 0.35, CALL: 0.35, PEAK: 0.2, SETUP: 3}
"""The spread of an effect of which nothing is known: most choices change a call by less than
40 %."""

UNKNOWN_RATE = 0.03
"""How often an available choice fails where nothing is known of it."""

TABLE = Path(__file__).with_name("prior.json")
"""The table that comes with the package, made by ``python -m tests.benchmarks.make_prior``."""


@dataclass(frozen=True)
class Effect:
    """The effect of a choice on one output, on a machine that has not been seen."""

    mean: float
    sd: float


Key = tuple[str, str, str]
"""Output, knob, choice."""


@dataclass(frozen=True)
class Prior:
    """Effects by output, knob and choice, and how often a choice fails or moves the image too far.

    ``provenance`` says from what it was made, for people.
    """

    effects: Mapping[Key, Effect] = field(default_factory=dict)
    fails: Mapping[tuple[str, str], float] = field(default_factory=dict)
    too_far: Mapping[tuple[str, str], float] = field(default_factory=dict)
    provenance: tuple[str, ...] = ()

    def on(self, machine: Machine) -> Prior:
        """The prior as this machine sees it: whether a dtype is native to it makes a difference."""
        return replace(
            self,
            effects={
                (key[0], *choice): effect
                for key, effect in self.effects.items()
                if (choice := _seen_on(machine, key[1:])) is not None
            },
            fails=_rates_on(machine, self.fails),
            too_far=_rates_on(machine, self.too_far),
        )

    def means(self, output: str, columns: Columns) -> Matrix:
        """The expected effect of each column."""
        found = [self.effects.get((output, *column)) for column in columns]
        return numpy.array([effect.mean if effect else 0.0 for effect in found])

    def sds(self, output: str, columns: Columns) -> Matrix:
        """The spread of the effect of each column."""
        found = [self.effects.get((output, *column)) for column in columns]
        unknown = UNKNOWN_SD[output]
        return numpy.array([effect.sd if effect else unknown for effect in found])

    def knows(self, column: tuple[str, str]) -> bool:
        """Whether something is known of the choice."""
        return (CALL, *column) in self.effects

    def rates(self, of: str, columns: Columns) -> Matrix:
        """How often each choice ``fails`` or is ``too_far``."""
        known = self.fails if of == "fails" else self.too_far
        return numpy.array([known.get(column, UNKNOWN_RATE) for column in columns])

    def updated(self, evidence: Evidence, discrepancy: float) -> Prior:
        """The prior with what another workload has shown, which is off by ``discrepancy``.

        That is in logarithms of latency; other outputs differ by as much of what is usual there.
        """
        effects = dict(self.effects)
        for key, (mean, variance) in evidence.effects.items():
            unknown = UNKNOWN_SD[key[0]]
            before = effects.get(key, Effect(0.0, unknown))
            weight = 1 / (variance + (discrepancy * unknown / UNKNOWN_SD[CALL]) ** 2)
            precision = 1 / before.sd**2
            total = precision + weight
            least = LEAST_SD * unknown / UNKNOWN_SD[CALL]
            effects[key] = Effect(
                (before.mean * precision + mean * weight) / total,
                max(float(total**-0.5), least),
            )
        return replace(
            self,
            effects=effects,
            fails=_rates_with(self.fails, evidence.failures),
            too_far=_rates_with(self.too_far, evidence.too_far),
        )


NOTHING = Prior()
"""Nothing is known of any choice."""


@dataclass(frozen=True)
class Evidence:
    """What the trials of one workload on one machine say of each choice.

    ``effects`` have the mean and the variance of each effect that the trials show; ``failures`` and
    ``too_far`` have the probability that a choice does not work there, or moves the image too far.
    """

    effects: Mapping[Key, tuple[float, float]]
    failures: Mapping[tuple[str, str], float]
    too_far: Mapping[tuple[str, str], float]

    def like(self, measured_on: Machine, machine: Machine) -> Evidence:
        """What of it speaks of another machine: of dtypes that are native to both or to neither."""

        def speaks(choice: tuple[str, str]) -> bool:
            return is_emulated(measured_on, choice) == is_emulated(machine, choice)

        return Evidence(
            {key: effect for key, effect in self.effects.items() if speaks(key[1:])},
            {choice: count for choice, count in self.failures.items() if speaks(choice)},
            {choice: count for choice, count in self.too_far.items() if speaks(choice)},
        )

    def kept(self, machine: Machine) -> Evidence:
        """By the names of a table."""
        return Evidence(
            {(key[0], *kept_as(machine, key[1:])): each for key, each in self.effects.items()},
            {kept_as(machine, choice): count for choice, count in self.failures.items()},
            {kept_as(machine, choice): count for choice, count in self.too_far.items()},
        )


EMULATED = " emulated"
"""Behind the name of a choice in a table: on a machine to which its dtype is not native."""

DTYPES = ("bf16", "fp16")


def is_emulated(machine: Machine, choice: tuple[str, str]) -> bool:
    """Whether the choice computes in a dtype that the machine has no instructions for."""
    return any(dtype in choice[1] and dtype not in machine.native_dtypes for dtype in DTYPES)


def kept_as(machine: Machine, choice: tuple[str, str]) -> tuple[str, str]:
    """The choice by its name in a table."""
    return (choice[0], choice[1] + EMULATED) if is_emulated(machine, choice) else choice


def _seen_on(machine: Machine, kept: tuple[str, str]) -> tuple[str, str] | None:
    """The choice of a name in a table; None where it speaks of machines unlike this one."""
    choice = kept[0], kept[1].removesuffix(EMULATED)
    return choice if kept_as(machine, choice) == kept else None


def _rates_on(
    machine: Machine, rates: Mapping[tuple[str, str], float]
) -> dict[tuple[str, str], float]:
    seen = {_seen_on(machine, kept): rate for kept, rate in rates.items()}
    return {choice: rate for choice, rate in seen.items() if choice is not None}


LEAST_SD = 0.05
"""Effects of one choice on like machines differ by more than this, however much was measured."""

LONE_SD = 0.25
"""How far machines differ in an effect, before several have shown it."""

LONE_WEIGHT = 1.0
"""As many machines as that spread counts for."""


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
    scale = UNKNOWN_SD[output]
    means, variances = numpy.array(pairs).T
    between = (LONE_SD * scale / 0.35) ** 2
    for _ in range(5):
        weights = 1 / (variances + between)
        shrink = 1 / scale**2
        mean = float((weights * means).sum() / (weights.sum() + shrink))
        spread = float((weights * ((means - mean) ** 2 - variances)).sum() / weights.sum())
        count = len(pairs)
        lone = (LONE_SD * scale / 0.35) ** 2
        between = max(
            (LONE_WEIGHT * lone + count * max(spread, 0.0)) / (LONE_WEIGHT + count),
            (LEAST_SD * scale / 0.35) ** 2,
        )
    uncertainty = 1 / (weights.sum() + shrink)
    return Effect(mean, float(min(numpy.sqrt(between + uncertainty), 1.5 * scale)))


RATE_MACHINES = 2.0
"""As many machines count for the rate of which nothing is known."""


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


def _rates_with(
    rates: Mapping[tuple[str, str], float], blamed: Mapping[tuple[str, str], float]
) -> dict[tuple[str, str], float]:
    updated = dict(rates)
    for choice, probability in blamed.items():
        before = rates.get(choice, UNKNOWN_RATE)
        updated[choice] = (before * RATE_MACHINES + probability) / (RATE_MACHINES + 1)
    return updated


def shipped(context: Context, table: Path = TABLE) -> Prior:
    """The prior of the package for a kind of device; nothing where it knows none."""
    if not table.exists():
        return NOTHING
    facts = json.loads(table.read_text(encoding="utf-8"))
    kind = facts["devices"].get(context.machine.device)
    return from_json(kind).on(context.machine) if kind else NOTHING


def from_json(facts: Mapping[str, object]) -> Prior:
    """The inverse of `to_json`."""
    effects: Mapping[str, tuple[float, float]] = facts["effects"]  # type: ignore[assignment]
    fails: Mapping[str, float] = facts["fails"]  # type: ignore[assignment]
    too_far: Mapping[str, float] = facts["too_far"]  # type: ignore[assignment]
    return Prior(
        {_key(name): Effect(*pair) for name, pair in effects.items()},
        {_choice(name): rate for name, rate in fails.items()},
        {_choice(name): rate for name, rate in too_far.items()},
        tuple(facts.get("provenance", ())),  # type: ignore[arg-type]
    )


def to_json(prior: Prior) -> dict[str, object]:
    """The prior as JSON, its figures to three places: more are not known."""
    return {
        "provenance": list(prior.provenance),
        "effects": {
            f"{output}: {knob}={value}": [round(effect.mean, 3), round(effect.sd, 3)]
            for (output, knob, value), effect in prior.effects.items()
        },
        "fails": {"=".join(choice): round(rate, 3) for choice, rate in prior.fails.items()},
        "too_far": {"=".join(choice): round(rate, 3) for choice, rate in prior.too_far.items()},
    }


def _key(name: str) -> Key:
    output, choice = name.split(": ", 1)
    return (output, *_choice(choice))


def _choice(name: str) -> tuple[str, str]:
    knob, value = name.split("=", 1)
    return knob, value
