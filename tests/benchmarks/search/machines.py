"""Synthetic machines: a real space, a truth, a budget, and the optimum by enumeration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import count
from pathlib import Path
from typing import Any

import numpy

from search_space.budget import Budget
from search_space.config import BASELINE, Config
from search_space.fidelity import ANOTHER_IMAGE
from search_space.trial import Failure, FailureKind, Measurement, Peak
from tests.benchmarks.search.costs import CHECK_CALLS, Costs, draw_costs
from tests.benchmarks.search.effects import typical
from tests.benchmarks.search.enumeration import Configs
from tests.benchmarks.search.hidden import draw_hidden
from tests.benchmarks.search.landscape import Landscape, draw_times
from tests.benchmarks.search.memory import draw_memory
from tests.benchmarks.search.spaces import (
    FULL,
    Extent,
    ReducedSpace,
    draw_context,
    draw_space,
    pipeline_of,
    with_seed,
)
from tests.benchmarks.search.unlike import CRASHING, KINDS, changed
from tuner.records.plan import Plan
from tuner.runners.replay import PARTS, Recorded

MACHINES = 24
"""Of the benchmark: every third is unlike the family."""

TRAINING = 1000
"""From this number on machines are for priors: the benchmark searches none of them."""

QUANTILES = (0.30, 0.45, 0.70)
"""The budget is at such a quantile of the peaks of all valid configs; on every other machine it is
at least what the baseline needs, for most users have a pipeline that runs."""

LEAST_FEASIBLE = 0.02
"""A machine with less is drawn anew: what hardly ever runs is no use to its owner either."""

INTERACTION_SD = (0.05, 0.15)
NOISE = (0.01, 0.05)
BASELINE_S = {"cpu": (1.0, 30.0), "cuda": (1.0, 20.0)}
CHUNK = 200_000
"""Configs that are evaluated at once: some 100 MB."""

FLOOR = {"floor_psnr_db": 120.0, "floor_ssim": 1.0}
STEADY_PHASE = "steady"


@dataclass(frozen=True)
class SyntheticMachine:
    """One machine of the benchmark; a table to replay that knows the truth."""

    name: str
    landscape: Landscape
    costs: Costs
    noise: float
    quantile: float
    holds_baseline: bool
    unlike: tuple[str, ...] = ()

    @property
    def space(self) -> ReducedSpace:
        return self.landscape.space

    @property
    def valid(self) -> Configs:
        return self.space.valid

    @cached_property
    def peaks_bytes(self) -> Any:
        return numpy.concatenate([self.landscape.peak_bytes(rows) for rows in self._chunks])

    @cached_property
    def memory_bytes(self) -> int:
        limit_bytes = int(numpy.quantile(self.peaks_bytes, self.quantile))
        baseline = Configs.of(self.space, BASELINE)
        baseline_bytes = int(self.landscape.peak_bytes(baseline)[0])
        return max(limit_bytes, baseline_bytes) if self.holds_baseline else limit_bytes

    @cached_property
    def feasible_share(self) -> float:
        """The share of the valid configs that fit the budget, run and are near enough."""
        works = numpy.concatenate([self.landscape.works(rows) for rows in self._chunks])
        return float((works & (self.peaks_bytes <= self.memory_bytes)).mean())

    @cached_property
    def optimum(self) -> tuple[Config, float]:
        """The fastest config that fits the budget, runs and is near enough, and its latency."""
        feasible = self.peaks_bytes <= self.memory_bytes
        best: tuple[Config, float] | None = None
        for start, rows in zip(range(0, len(self.valid), CHUNK), self._chunks, strict=True):
            able = feasible[start : start + CHUNK] & self.landscape.works(rows)
            latency_s = numpy.where(able, self.landscape.latency_s(rows), numpy.inf)
            row = int(latency_s.argmin())
            if best is None or latency_s[row] < best[1]:
                best = rows.config(row), float(latency_s[row])
        assert best is not None and numpy.isfinite(best[1]), f"nothing runs on {self.name}"
        return best

    @property
    def _chunks(self) -> list[Configs]:
        starts = range(0, len(self.valid), CHUNK)
        return [self.valid.rows(start, start + CHUNK) for start in starts]

    def true_latency_s(self, config: Config) -> float | None:
        """The latency without noise of a config, None where it is not feasible."""
        row = Configs.of(self.space, config)
        fits = self.landscape.peak_bytes(row)[0] <= self.memory_bytes
        if not (fits and self.landscape.works(row)[0]):
            return None
        return float(self.landscape.latency_s(row)[0])

    def plan(self, trials: int, folder: Path, seed: int = 0) -> Plan:
        """The plan of a search of this machine."""
        space = with_seed(self.space, seed)
        return Plan(space, Budget(self.memory_bytes), trials, None, 3600.0, folder)

    def recorded(self, config: Config) -> Recorded:
        """What becomes of a config, without noise."""
        row = Configs.of(self.space, config)
        times = self.landscape.times
        parts_s = {part: float(value[0]) for part, value in times.parts_s(row).items()}
        call_s = float(self.landscape.latency_s(row)[0])
        set_up_s = self.costs.set_up_s(config, self.landscape.memory)
        first_s = call_s + set_up_s.pop("first_call", 0.0)
        check_s = CHECK_CALLS * call_s
        crash = int(self.landscape.hidden.crash(row)[0])
        psnr_db = float(self.landscape.hidden.psnr_db(row)[0])
        if crash < 0 and psnr_db < ANOTHER_IMAGE["psnr_db"]:
            failure = Failure(FailureKind.INVALID_OUTPUT, f"PSNR {psnr_db:.1f} dB", "check")
            return Recorded(failure, sum(set_up_s.values()) + first_s + 4 * call_s + check_s)
        if crash >= 0:
            reason = self.landscape.hidden.crashes[crash]
            failure = Failure(reason.kind, "it fails by itself here", reason.phase)
            spent_s = sum(set_up_s.values())
            if reason.phase != "load":
                spent_s += first_s
            return Recorded(failure, spent_s + (4 * call_s if reason.phase == "check" else 0))
        seconds = {
            **{kind: (phase_s,) for kind, phase_s in set_up_s.items()},
            "first_call": (first_s,),
            "second_call": (call_s,),
            STEADY_PHASE: (call_s,),
            **{part: (parts_s[part],) for part in PARTS},
            "step": (parts_s["step"],) * times.step_count,
            "check": (check_s,),
        }
        peaks = self._peaks(row, seconds)
        fidelity = FLOOR if config.is_baseline else {**_fidelity(psnr_db), **FLOOR}
        batch_size = self.space.context.workload.batch_size
        measurement = Measurement(seconds, peaks, fidelity, images=batch_size)
        return Recorded(measurement, sum(set_up_s.values()) + first_s + 2 * call_s + check_s)

    def _peaks(self, row: Configs, seconds: dict[str, tuple[float, ...]]) -> tuple[Peak, ...]:
        return tuple(
            Peak(place, phase, "drawn", int(peak_bytes[0]))
            for (place, phase), peak_bytes in self.landscape.memory.peaks(row).items()
            if phase in seconds
        )


def _fidelity(psnr_db: float) -> dict[str, float]:
    """The metrics of an error; SSIM never speaks up where PSNR does not."""
    return {"psnr_db": psnr_db, "ssim": 1.0 - float(10 ** (-psnr_db / 20))}


@cache
def draw_machine(number: int, extent: Extent = FULL) -> SyntheticMachine:
    """The machine of that number, always the same; one on which hardly anything runs is redrawn."""
    drawn = (
        _draw(number, extent, numpy.random.default_rng((17, number, attempt)))
        for attempt in count()
    )
    return next(machine for machine in drawn if machine.feasible_share >= LEAST_FEASIBLE)


def name_of(number: int) -> str:
    """The name of a machine by its number."""
    pipeline = pipeline_of(number).spec.class_name.removesuffix("Pipeline")
    return f"{number}-{_device(number)}-{pipeline}"


def _device(number: int) -> str:
    return ("cpu", "cuda")[number // 2 % 2]


def _draw(number: int, extent: Extent, draw: numpy.random.Generator) -> SyntheticMachine:
    device = _device(number)
    pipeline = pipeline_of(number)
    context = draw_context(device, pipeline, number, draw)
    space = draw_space(context, draw, extent)
    unlike = _unlike(number, device, draw) if number % 3 == 2 and number < TRAINING else ()
    effects = changed(typical(device, pipeline.is_transformer), unlike)
    least_s, most_s = BASELINE_S[device]
    baseline_s = float(numpy.exp(draw.uniform(numpy.log(least_s), numpy.log(most_s))))
    times = draw_times(space, effects, baseline_s, INTERACTION_SD[number // 4 % 2], draw)
    memory = draw_memory(device, pipeline, context.workload.batch_size, draw)
    hidden = draw_hidden(space, CRASHING in unlike, draw)
    return SyntheticMachine(
        name_of(number),
        Landscape(space, times, memory, hidden),
        draw_costs(device, draw),
        float(draw.uniform(*NOISE)),
        QUANTILES[number // 3 % 3],
        number % 2 == 0,
        unlike,
    )


def _unlike(number: int, device: str, draw: numpy.random.Generator) -> tuple[str, ...]:
    """Two ways of being unlike, the first in turn."""
    kinds = [kind for kind in KINDS if device == "cuda" or "offloading" not in kind]
    first = kinds[number // 3 % len(kinds)]
    others: Sequence[str] = [kind for kind in kinds if kind != first]
    return first, str(draw.choice(others))
