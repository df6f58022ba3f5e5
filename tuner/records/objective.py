"""What a search minimizes: one figure of a measurement."""

from __future__ import annotations

import re
from dataclasses import dataclass

from search_space.budget import Budget
from search_space.trial import Measurement, Trial

OBJECTIVES = ("latency", "throughput", "session", "memory")

NO_WORSE = 1.01
"""A latency up to this many times the baseline's is no worse than the baseline's."""


@dataclass(frozen=True)
class Objective:
    """``latency``, ``throughput``, ``session`` of so many images, or ``memory``.

    The images of a session come ``batch_size`` at a time.
    """

    name: str = "latency"
    images: int | None = None
    batch_size: int = 1

    def __str__(self) -> str:
        if self.images is None:
            return self.name
        each = f", {self.batch_size} a call" if self.batch_size > 1 else ""
        return f"{self.name} of {self.images} images{each}"

    @classmethod
    def parse(cls, text: str) -> Objective:
        """The inverse of ``str``; raises ValueError where the text is none."""
        form = re.fullmatch(
            r"(\w+)(?: of ([1-9]\d{0,9}) images(?:, ([1-9]\d{0,9}) a call)?)?", text
        )
        if form is None or form[1] not in OBJECTIVES:
            raise ValueError(f"{text!r} is no objective")
        return cls(form[1], *(int(count) for count in form.groups()[1:] if count))

    def value(self, measurement: Measurement) -> float:
        """The figure to be made small, in seconds or bytes."""
        if self.name == "memory":
            return float(measurement.peak_bytes)
        if self.images is not None:
            calls = -(-self.images // self.batch_size)
            return start_up_s(measurement) + (calls - 1) * measurement.latency_s
        return measurement.latency_s

    def excess(self, measurement: Measurement, baseline: Measurement | None) -> float:
        """How far beyond what the objective allows, as a share; at most 0 is allowed."""
        if self.name != "memory" or baseline is None:
            return -1.0
        return measurement.latency_s / (NO_WORSE * baseline.latency_s) - 1.0

    @property
    def of_one_call(self) -> bool:
        """Whether the latency alone decides: then a slow first call says that a config loses."""
        return self.name in ("latency", "throughput")


LATENCY = Objective()


def start_up_s(measurement: Measurement) -> float:
    """The seconds of loading, of all set-up and of the first call."""
    return measurement.start_up_s


def best(
    trials: list[Trial],
    budget: Budget,
    objective: Objective = LATENCY,
    baseline: Measurement | None = None,
) -> Trial | None:
    """The trial with the lowest value that fits the budget, if any; all of its config must fit."""
    over_budget = {trial.config for trial in trials if trial.exceeds(budget)}

    def feasible(trial: Trial) -> bool:
        measurement = trial.measurement
        fits = trial.judged(budget) is None and trial.config not in over_budget
        return fits and measurement is not None and objective.excess(measurement, baseline) <= 0

    return min(filter(feasible, trials), key=lambda trial: value_of(trial, objective), default=None)


def value_of(trial: Trial, objective: Objective) -> float:
    """The objective's value of a measured trial."""
    assert trial.measurement is not None
    return objective.value(trial.measurement)


def latency_s(trial: Trial) -> float:
    """The latency of a measured trial."""
    assert trial.measurement is not None
    return trial.measurement.latency_s


def peak_bytes(trial: Trial) -> int:
    """The peak memory of a measured trial."""
    assert trial.measurement is not None
    return trial.measurement.peak_bytes


def front(trials: list[Trial]) -> list[Trial]:
    """Of measured trials those that are the fastest within some budget of memory."""
    fastest: list[Trial] = []
    for trial in sorted(trials, key=lambda trial: (latency_s(trial), peak_bytes(trial))):
        if not fastest or peak_bytes(trial) < peak_bytes(fastest[-1]):
            fastest.append(trial)
    return fastest


def smallest(trials: list[Trial]) -> Trial | None:
    """The measured trial with the lowest peak memory, if any was measured."""
    measured_trials = [trial for trial in trials if trial.measurement is not None]
    return min(measured_trials, key=peak_bytes, default=None)


def break_even_images(tuned: Measurement, baseline: Measurement) -> int | None:
    """From how many images on the tuned config has saved what it takes to start; None for never."""
    if start_up_s(tuned) <= start_up_s(baseline):
        return tuned.images
    if tuned.image_s >= baseline.image_s:
        return None
    # Starting up has made the images of the first call; each after them takes its share of a call.
    lead_s = start_up_s(baseline) - baseline.images * baseline.image_s
    lag_s = start_up_s(tuned) - tuned.images * tuned.image_s - lead_s
    calls = -(-lag_s // (tuned.images * (baseline.image_s - tuned.image_s)))
    return tuned.images * max(1, int(calls))
