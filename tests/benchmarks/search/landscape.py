"""The truth about a synthetic machine: seconds by part, memory by phase, failures."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy

from search_space.fidelity import ANOTHER_IMAGE, LIMITS
from tests.benchmarks.search.effects import Effect
from tests.benchmarks.search.enumeration import Configs
from tests.benchmarks.search.hidden import Hidden
from tests.benchmarks.search.memory import Memory
from tests.benchmarks.search.spaces import ReducedSpace

PARTS = ("text_encoding", "step", "decode")

EFFECT_SD = 0.5
"""Effects are log-normal around the typical ones, with this share of their size."""

SHARED = 0.8
"""The share of that spread that is common to the parts of a call: they run on the same machine."""

TURNED = 1 / 8
"""How often the sign of an effect is turned."""

MOST_TURNED = 0.25
"""A slowdown that is turned gains at most this in log seconds: what moves weights about in each
step may cost nothing, but it does not make a call four times as fast."""

MOST_GAINED = 2.5
"""Nothing by itself makes a part more than twelve times as fast."""

INTERACTING = 0.25
"""The share of the pairs of knobs, among those that act on a common part, which interact."""

REST_SHARE = (0.003, 0.01)
TEXT_SHARE = (0.02, 0.05)
DECODE_SHARE = (0.10, 0.35)
"""Of the baseline's call; the rest is Python and the scheduler, which no knob moves."""


@dataclass(frozen=True)
class PairTerm:
    """The log seconds that two knobs add together, by the places of their choices."""

    first: str
    second: str
    parts: tuple[str, ...]
    terms: Any


@dataclass(frozen=True)
class Times:
    """Log seconds by part: the baseline's, the effects by knob and choice, and pair terms."""

    baseline_s: dict[str, float]
    rest_s: float
    step_count: int
    effects: dict[str, dict[str, Any]]
    pairs: tuple[PairTerm, ...]

    def parts_s(self, configs: Configs) -> dict[str, Any]:
        """The seconds of text encoding, of one step and of the decode, for each config."""
        logs = {part: numpy.full(len(configs), numpy.log(self.baseline_s[part])) for part in PARTS}
        for part, by_knob in self.effects.items():
            for name, effects in by_knob.items():
                logs[part] += effects[configs.column(name)]
        for pair in self.pairs:
            terms = pair.terms[configs.column(pair.first), configs.column(pair.second)]
            for part in pair.parts:
                logs[part] += terms
        return {part: numpy.exp(log) for part, log in logs.items()}

    def latency_s(self, parts_s: dict[str, Any]) -> Any:
        steps_s = self.step_count * parts_s["step"]
        return parts_s["text_encoding"] + steps_s + parts_s["decode"] + self.rest_s


@dataclass(frozen=True)
class Landscape:
    """All that is true of a machine and a pipeline, whatever the budget."""

    space: ReducedSpace
    times: Times
    memory: Memory
    hidden: Hidden

    @property
    def place(self) -> str:
        """Where the memory lies that a budget is about."""
        return "host" if self.memory.device == "cpu" else "device"

    def peak_bytes(self, configs: Configs) -> Any:
        """The peak that a budget is about, for each config."""
        peaks = self.memory.peaks(configs)
        return numpy.maximum.reduce([peak for key, peak in peaks.items() if key[0] == self.place])

    def works(self, configs: Configs) -> Any:
        """Whether a config runs and its image is near enough, for each; memory apart."""
        least_db = LIMITS[self.space.context.quality]["psnr_db"]
        least_db = max(least_db, ANOTHER_IMAGE["psnr_db"])
        return (self.hidden.crash(configs) < 0) & (self.hidden.psnr_db(configs) >= least_db)

    def latency_s(self, configs: Configs) -> Any:
        return self.times.latency_s(self.times.parts_s(configs))


def draw_times(
    space: ReducedSpace,
    typical: dict[str, Effect],
    baseline_s: float,
    interaction_sd: float,
    draw: numpy.random.Generator,
) -> Times:
    """The seconds of a machine around the typical effects."""
    text, decode, rest = (
        float(draw.uniform(*share)) for share in (TEXT_SHARE, DECODE_SHARE, REST_SHARE)
    )
    step_count = space.context.workload.steps or 1
    shares = {
        "text_encoding": text,
        "step": (1 - text - decode - rest) / step_count,
        "decode": decode,
    }
    effects = _draw_effects(space, typical, draw)
    return Times(
        {part: baseline_s * share for part, share in shares.items()},
        baseline_s * rest,
        step_count,
        effects,
        tuple(_draw_pairs(space, effects, interaction_sd, draw)),
    )


def _draw_effects(
    space: ReducedSpace, typical: dict[str, Effect], draw: numpy.random.Generator
) -> dict[str, dict[str, Any]]:
    effects: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
    for name, values in space.open.items():
        table = numpy.zeros((len(PARTS), len(values)))
        for place, value in enumerate(values[1:], 1):
            size = numpy.log(numpy.array(typical[f"{name}={value}"][:3]))
            common, own = draw.standard_normal(), draw.standard_normal(len(PARTS))
            spread = SHARED * common + (1 - SHARED**2) ** 0.5 * own
            drawn = size * numpy.exp(EFFECT_SD * spread)
            if draw.random() < TURNED:
                drawn = numpy.where(drawn > 0, -numpy.minimum(drawn, MOST_TURNED), -drawn)
            table[:, place] = numpy.maximum(drawn, -MOST_GAINED)
        for part, row in zip(PARTS, table, strict=True):
            if row.any():
                effects[part][name] = row
    return effects


def _draw_pairs(
    space: ReducedSpace,
    effects: dict[str, dict[str, Any]],
    interaction_sd: float,
    draw: numpy.random.Generator,
) -> list[PairTerm]:
    common = {}
    for first, second in combinations(space.open, 2):
        parts = tuple(part for part in PARTS if {first, second} <= effects[part].keys())
        if parts:
            common[first, second] = parts
    pairs = list(common)
    terms = []
    for place in draw.permutation(len(pairs))[: round(INTERACTING * len(pairs))]:
        first, second = pairs[place]
        drawn = draw.normal(0, interaction_sd, (len(space.open[first]), len(space.open[second])))
        drawn[0, :] = drawn[:, 0] = 0.0
        terms.append(PairTerm(first, second, common[first, second], drawn))
    return terms
