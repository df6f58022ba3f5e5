"""Two trials beside each other: what differs, by how much, and whether that can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from search_space.config import completed
from search_space.trial import INCUMBENT_KNOWN, Trial
from storage import Store, StoredTrial
from tuner.race.additive_model import Interval
from tuner.race.race import Race, Standing
from tuner.records.request import MINIMUM_ROUNDS
from tuner.records.statistics import half_width_s

Difference = tuple[str, Any, Any]
"""What differs, and its value in the first and in the second."""


@dataclass(frozen=True)
class Pair:
    """Two trials; ``speedup`` is the latency of the first over that of the second.

    Its bounds are those of the last race in which both took part in ``rounds`` rounds. Without one
    it is a ratio of two trials, ``rounds`` is 0 and the bounds say nothing.
    """

    first: StoredTrial
    second: StoredTrial
    config: tuple[Difference, ...]
    machine: tuple[Difference, ...]
    versions: tuple[Difference, ...]
    workload: tuple[Difference, ...]
    speedup: Interval | None
    rounds: int

    @property
    def is_comparable(self) -> bool:
        """Whether the trials differ in nothing but their configs."""
        return not (self.machine or self.versions or self.workload)

    @property
    def verdict(self) -> str:
        """Whether they can be compared, in a sentence."""
        names = {"machine": self.machine, "versions": self.versions, "workload": self.workload}
        apart = [name for name, differences in names.items() if differences]
        if apart:
            return f"not comparable: they differ in {' and '.join(apart)}"
        if self.speedup is None:
            return "comparable, but one of them failed"
        if self.rounds:
            return (
                f"comparable: same machine, versions and workload, {self.rounds} rounds of a race"
            )
        return "comparable: same machine, versions and workload; two single trials, no interval"


def compared(first: StoredTrial, second: StoredTrial, store: Store) -> Pair:
    """The two trials beside each other; their common races are read from the store."""
    machines = first.machine, second.machine
    identities = [{**_facts(stored), "model_fingerprint": ""} for stored in (first, second)]
    if first.workload.model_fingerprint != second.workload.model_fingerprint:
        for identity, stored in zip(identities, (first, second), strict=True):
            identity["model"] = stored.workload.model
            identity["model_fingerprint"] = stored.workload.model_fingerprint
    hardware = [machine.hardware for machine in machines]
    if machines[0].fingerprint == machines[1].fingerprint:
        hardware = [{}, {}]
    speedup, rounds = _speedup(first, second, store)
    return Pair(
        first,
        second,
        differences(completed(first.trial.config), completed(second.trial.config)),
        differences(*hardware),
        differences(*(machine.packages for machine in machines)),
        differences(*identities),
        speedup,
        rounds,
    )


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[Difference, ...]:
    """The names whose values differ, in order; a missing one is None."""
    names = dict.fromkeys((*first, *second))
    return tuple(
        (name, first.get(name), second.get(name))
        for name in names
        if first.get(name) != second.get(name)
    )


def latency_interval(trial: Trial) -> Interval | None:
    """The latency of a trial with its 95 % interval, whose bounds are itself with one call.

    Beside an incumbent it is that of the ratios to the calls of this one.
    """
    measurement = trial.measurement
    if measurement is None:
        return None
    latency_s, samples = measurement.latency_s, list(measurement.seconds["steady"])
    if measurement.ratios:
        known_s = measurement.seconds[INCUMBENT_KNOWN][0]
        samples = [ratio * known_s for ratio in measurement.ratios]
    if len(samples) < 2:
        return Interval(latency_s, latency_s, latency_s)
    half_s = half_width_s(samples) / measurement.counted
    return Interval(latency_s, max(0.0, latency_s - half_s), latency_s + half_s)


def _facts(stored: StoredTrial) -> dict[str, Any]:
    # The model's name is no part of what it is.
    return {name: value for name, value in asdict(stored.workload).items() if name != "model"}


def _speedup(first: StoredTrial, second: StoredTrial, store: Store) -> tuple[Interval | None, int]:
    one, other = first.trial.measurement, second.trial.measurement
    if one is None or other is None:
        return None, 0
    configs = first.trial.config, second.trial.config
    if first.same_as(second.machine, second.workload) and configs[0] != configs[1]:
        history = store.of_workload(first.machine, first.workload)
        raced = _raced(configs, history)
        if raced is not None:
            return raced
    ratio = one.latency_s / other.latency_s
    return Interval(ratio, ratio, ratio), 0


def _raced(configs: Any, history: Sequence[Trial]) -> tuple[Interval, int] | None:
    names = [trial.race for trial in history if trial.race and trial.config == configs[1]]
    for name in reversed(dict.fromkeys(names)):
        trials = [
            trial
            for trial in history
            if trial.race == name and trial.measurement and trial.config in configs
        ]
        rounds = [{trial.round for trial in trials if trial.config == each} for each in configs]
        shared = len(rounds[0] & rounds[1])
        if shared >= MINIMUM_ROUNDS:
            return Standing(Race(configs, 0), trials).value_ratio(*configs), shared
    return None
