"""Real spaces over described machines, reduced to what can be enumerated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property

import numpy

from search_space.catalog import all_probes
from search_space.hardware.detect import PACKAGES
from search_space.hardware.machine import Machine
from search_space.knob import Context, Tier
from search_space.space import Space
from search_space.workload import Workload
from tests.benchmarks.search.effects import typical
from tests.benchmarks.search.enumeration import Configs, valid_configs
from tests.benchmarks.search.pipelines import PIPELINES, Pipeline

GIB = 2**30


@dataclass(frozen=True)
class Extent:
    """How many knobs are open, and how many combinations of their choices there are."""

    fewest_knobs: int
    most_knobs: int
    least: int
    most: int


FULL = Extent(12, 16, 1_000_000, 20_000_000)
"""Too many to try, and few enough to find the optimum by enumeration within seconds."""

SMALL = Extent(5, 8, 500, 5_000)
"""What a test can try one by one."""

ALWAYS = (
    "precision",
    "engine",
    "vae_engine",
    "text_encoder_engine",
    "memory_format",
    "attention",
    "quantization",
)
"""Knobs that every machine has, where its pipeline can: most of a speed-up lies in them."""


class ReducedSpace(Space):
    """A space in which some of the available choices are left out."""

    def __init__(self, context: Context, choices: Mapping[str, Sequence[str]]) -> None:
        super().__init__(context, include=tuple(choices))
        for name, values in choices.items():
            assert set(values) <= set(self.choices[name]), (name, values)
            self.choices[name] = tuple(values)

    @cached_property
    def valid(self) -> Configs:
        """Every config that it holds; a copy of the space has them too."""
        return valid_configs(self)


def draw_context(
    device: str, pipeline: Pipeline, number: int, draw: numpy.random.Generator
) -> Context:
    """A described machine with all packages, and a workload of its own."""
    cores = int(draw.choice([4, 8, 16, 32, 64]))
    machine = Machine(
        device,
        f"described {device} {number}",
        80 * GIB if device == "cuda" else 512 * GIB,
        512 * GIB,
        cores,
        "Linux x86_64",
        ("fp32", "bf16") if device == "cpu" else ("fp32", "bf16", "fp16"),
        threads=cores // 2,
        packages=dict.fromkeys(PACKAGES, "1.0"),
        probes=dict.fromkeys(all_probes()),
    )
    spec = pipeline.spec
    workload = Workload(
        spec.class_name,
        spec.fingerprint,
        1024,
        1024,
        17 if spec.frame_multiple > 1 else None,
        steps=int(draw.choice([4, 8, 20, 30])),
        batch_size=int(draw.choice([1, 2, 4])),
        guidance_scale=5.0,
        seed=number,
    )
    # What moves the image further than near is asked for on a third of the machines.
    quality = Tier.LOSSY if number % 3 == 1 else Tier.NEAR
    return Context(machine, spec, workload, quality)


def draw_space(
    context: Context, draw: numpy.random.Generator, extent: Extent = FULL
) -> ReducedSpace:
    """As many open knobs as fit the extent, with some of their choices."""
    choices = _known_choices(context)
    for name, values in choices.items():
        # At least half of the others, so that no two machines have the same.
        others = values[1:]
        kept = draw.permutation(len(others))[
            : draw.integers(math.ceil(len(others) / 2), len(others) + 1)
        ]
        choices[name] = (values[0], *(others[place] for place in sorted(kept)))
    optional = draw.permutation([name for name in choices if name not in ALWAYS])
    # Those that every machine has can go from a small one alone.
    for name in (*optional, *reversed(ALWAYS if extent == SMALL else ())):
        smaller = {knob: values for knob, values in choices.items() if knob != name}
        too_large = _product(choices) > extent.most or len(choices) > extent.most_knobs
        fits = _product(smaller) >= extent.least and len(smaller) >= extent.fewest_knobs
        if too_large and fits:
            choices = smaller
    while _product(choices) > extent.most:
        largest = max(choices, key=lambda name: (len(choices[name]), name))
        choices[largest] = choices[largest][:-1]
    assert extent.least <= _product(choices), choices
    assert extent.fewest_knobs <= len(choices) <= extent.most_knobs, choices
    return ReducedSpace(context, choices)


def _known_choices(context: Context) -> dict[str, tuple[str, ...]]:
    """The choices that are available and whose typical effect is known."""
    is_transformer = context.spec.denoisers[0].name == "transformer"
    known = typical(context.machine.device, is_transformer)
    space = Space(context)
    choices = {
        name: (values[0], *(value for value in values[1:] if f"{name}={value}" in known))
        for name, values in space.open.items()
    }
    return {name: values for name, values in choices.items() if len(values) > 1}


def _product(choices: Mapping[str, Sequence[str]]) -> int:
    return math.prod(map(len, choices.values()))


def pipeline_of(number: int) -> Pipeline:
    """UNets and transformers in turn."""
    return PIPELINES[number % len(PIPELINES)]


def valid_of(space: Space) -> Configs:
    """Every config that the space holds."""
    return space.valid if isinstance(space, ReducedSpace) else valid_configs(space)


def with_seed(space: ReducedSpace, seed: int) -> ReducedSpace:
    """The space for a workload of another seed, by which samplers are seeded."""
    assert len(space.valid)  # Once for all copies.
    other = copy(space)
    workload = replace(space.context.workload, seed=seed)
    other.context = replace(space.context, workload=workload)
    return other
