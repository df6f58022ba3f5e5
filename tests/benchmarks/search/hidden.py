"""What no rule tells: choices and pairs that crash, and those whose image is too far off."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy

from search_space.knob import Tier
from search_space.space import Space
from search_space.trial import FailureKind
from tests.benchmarks.search.enumeration import Configs, clash_tables

CRASH_RATE = {
    "engine": 0.08,
    "vae_engine": 0.06,
    "text_encoder_engine": 0.06,
    "quantization": 0.08,
    "attention": 0.06,
    "placement": 0.04,
    "cache": 0.06,
}
"""How often a choice of the knob crashes by itself; engines and quantized layers do most."""

OTHER_CRASH_RATE = 0.01
CRASH_PAIRS = 8
TOO_FAR_RATE = 0.06
TOO_FAR_PAIRS = 4

PSNR_DB = {Tier.EXACT: 120.0, Tier.LOSSLESS: 46.0, Tier.NEAR: 35.0, Tier.LOSSY: 25.5}
"""What a choice of the tier typically leaves, well within the limits of its tier: 30, 25, 20."""

PSNR_SD_DB = 2.5
TOO_FAR_DB = (16.0, 24.0)
"""Of what is further off than its tier says: beyond near, some of it beyond lossy."""

FAMILIES = ("openvino", "onnxruntime", "compile")

Pair = tuple[tuple[int, int], tuple[int, int]]
"""Two choices, each by the places of its knob and of itself."""


@dataclass(frozen=True)
class Crash:
    """One or two choices that crash; by places of knob and choice."""

    choices: tuple[tuple[int, int], ...]
    kind: FailureKind
    phase: str


@dataclass(frozen=True)
class Hidden:
    """The hidden failures of a machine; ``noise`` is the error's power by knob and choice."""

    crashes: tuple[Crash, ...]
    noise: tuple[Any, ...]
    noisy_pairs: tuple[tuple[Pair, float], ...]

    def crash(self, configs: Configs) -> Any:
        """For each config the place of the first crash that meets it, or -1."""
        first = numpy.full(len(configs), -1)
        for place in reversed(range(len(self.crashes))):
            first[_has(configs, self.crashes[place].choices)] = place
        return first

    def psnr_db(self, configs: Configs) -> Any:
        """What all choices together leave: the powers of their errors add up."""
        power = numpy.full(len(configs), 10.0 ** (-PSNR_DB[Tier.EXACT] / 10))
        for name, powers in zip(configs.knobs, self.noise, strict=True):
            power += powers[configs.column(name)]
        for pair, pair_power in self.noisy_pairs:
            power[_has(configs, pair)] += pair_power
        return -10 * numpy.log10(power)


def _has(configs: Configs, choices: tuple[tuple[int, int], ...]) -> Any:
    held = numpy.ones(len(configs), dtype=bool)
    for knob, choice in choices:
        held &= configs.column(configs.knobs[knob]) == choice
    return held


def draw_hidden(space: Space, crashes_family: bool, draw: numpy.random.Generator) -> Hidden:
    """Crashes by choice and by pair, and errors of the image; the baseline has none."""
    names = tuple(space.open)
    changing = [
        (knob, choice)
        for knob, name in enumerate(names)
        for choice in range(1, len(space.open[name]))
    ]
    crashes = [
        ((place,),)
        for place in changing
        if draw.random() < CRASH_RATE.get(names[place[0]], OTHER_CRASH_RATE)
    ]
    if crashes_family:
        engines = [place for place in changing if names[place[0]].endswith("engine")]
        families = [family for family in FAMILIES if _of_family(space, engines, family)]
        family = families[draw.integers(len(families))]
        crashes = [((place,),) for place in _of_family(space, engines, family)]
    tables = clash_tables(space)
    pairs = [
        pair
        for pair in combinations(changing, 2)
        if pair[0][0] != pair[1][0] and not tables[pair[0][0], pair[1][0]][pair[0][1], pair[1][1]]
    ]
    order = draw.permutation(len(pairs))
    crashes += [(pairs[place],) for place in order[:CRASH_PAIRS]]
    noise = [_noise(space, name, draw) for name in names]
    too_far = [pairs[place] for place in order[CRASH_PAIRS : CRASH_PAIRS + TOO_FAR_PAIRS]]
    return Hidden(
        tuple(Crash(choices, *_manner(draw)) for (choices,) in crashes),
        tuple(noise),
        tuple((pair, _power(draw.uniform(*TOO_FAR_DB))) for pair in too_far),
    )


def _of_family(space: Space, engines: list[tuple[int, int]], family: str) -> list[tuple[int, int]]:
    values = list(space.open.values())
    return [(knob, choice) for knob, choice in engines if values[knob][choice].startswith(family)]


def _manner(draw: numpy.random.Generator) -> tuple[FailureKind, str]:
    kinds = (FailureKind.CRASH, FailureKind.UNSUPPORTED, FailureKind.INVALID_OUTPUT)
    kind = kinds[int(draw.choice(3, p=(0.5, 0.4, 0.1)))]
    if kind is FailureKind.INVALID_OUTPUT:
        return kind, "check"
    return kind, str(draw.choice(["load", "first_call"], p=(0.3, 0.7)))


def _noise(space: Space, name: str, draw: numpy.random.Generator) -> Any:
    knob = next(knob for knob in space.knobs if knob.name == name)
    powers = []
    for value in space.open[name]:
        tier = knob.choice(value).tier
        db = PSNR_DB[tier] + PSNR_SD_DB * draw.standard_normal()
        if tier in (Tier.NEAR, Tier.LOSSY) and draw.random() < TOO_FAR_RATE:
            db = draw.uniform(*TOO_FAR_DB)
        powers.append(0.0 if tier is Tier.EXACT else _power(db))
    return numpy.array(powers)


def _power(db: float) -> float:
    return float(10 ** (-db / 10))
