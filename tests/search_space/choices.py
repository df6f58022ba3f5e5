"""Every choice of every knob, and the pipelines and calls that it is tried with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from search_space.catalog import all_knobs
from search_space.knob import Choice, Knob, Tier
from search_space.workload import Workload

KNOBS = all_knobs()
# Where a choice is available for several, the first is taken: UNets have most to choose from, and
# these two are compiled in the shortest time, the second by its blocks.
FAMILIES = ("sd15-tiny", "sdxl-tiny", "sd3-tiny", "flux-tiny", "wan-tiny", "ltx-tiny")
QUICK_TO_COMPILE = ("sd3-tiny", "ltx-tiny", *FAMILIES)
NUM_FRAMES = {"wan-tiny": 5, "ltx-tiny": 9}
SMALL = Workload("", height_px=64, width_px=64, steps=2)
# From small to large: the first for which a choice is available is taken.
WORKLOADS = (
    SMALL,
    replace(SMALL, batch_size=2),
    replace(SMALL, height_px=144, width_px=144),
    replace(SMALL, throughput=True),
    # Without guidance, which multiplies what a skipped block leaves out.
    replace(SMALL, steps=16, guidance_scale=1.0),
)
LEAST_DB = {Tier.EXACT: 60.0, Tier.LOSSLESS: 60.0, Tier.NEAR: 25.0, Tier.LOSSY: 20.0}


def of_choices(
    holds: Callable[[Knob, Choice], bool],
    marks: Callable[[Knob], tuple[pytest.MarkDecorator, ...]] = lambda knob: (),
) -> pytest.MarkDecorator:
    """Parametrize over the choices, but for each knob's first, for which ``holds`` says so."""
    found = [
        pytest.param(knob, choice, id=f"{knob.name}={choice.value}", marks=marks(knob))
        for knob in KNOBS
        for choice in knob.choices[1:]
        if holds(knob, choice)
    ]
    return pytest.mark.parametrize(("knob", "choice"), found)


every_choice = of_choices(lambda knob, choice: True)


def is_sentence(reason: object) -> bool:
    """One line of several words, neither padded nor ended: it is set into a longer one."""
    return (
        isinstance(reason, str)
        and len(reason.split()) > 2
        and reason == " ".join(reason.split())
        and not reason.endswith(".")
    )


def workload_of(family: str, workload: Workload) -> Workload:
    return replace(workload, model=family, num_frames=NUM_FRAMES.get(family))
