"""The CPU speed probe: a fixed piece of work, timed between calls and within them.

A virtual machine is slowed down from outside, by a third or a half where another tenant computes on
the second thread of its cores. The kernel counts that as time of our own, and no counter shows it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean, quantiles

from search_space.trial import Condition, Trial
from tuner.measuring.noise.cpu_speed_within import Within
from tuner.measuring.noise.hashing import slowest_s

PROBE = "probe_s"
"""The kind of the condition of a call: how long the work took beside it."""

BEST_PROBE = "best_probe_s"
"""The kind of the condition of a trial: the shortest time of the work beside its calls."""

WITHIN = "probe_within_s"
"""The kind of the condition of a call: the mean of many looks, on the slowest core."""

BEST_WITHIN = "best_probe_within_s"
"""The kind of the condition of a trial: the best tenth of all looks."""

SLOW = 1.15
"""A probe that takes longer than the shortest by more than this factor says that its call was
disturbed: undisturbed probes lie within a tenth of each other."""

SLOW_WITHIN = 1.1
"""A call is disturbed beyond this multiple of the best tenth of the trial's probes within calls."""

LEAST_LOOKS = 5
"""Fewer probes of a core say nothing: the call was short, or held the interpreter."""

LOOKS_AT_REST = 4
"""What slows a machine from outside comes and goes within a second, and a single probe may miss it.
More would be work of our own."""

WORK = bytes(2**18)
"""As telling as a megabyte, which the probe hashed before, in a quarter of the time."""

ROUNDS = 8
"""The most rounds of work in a probe: a core may have slept."""

ENOUGH = 1.05
"""A round within this multiple of the shortest probe ends the probe. It lies well below what counts
as slow, because a shorter one may become known."""

LEAST_ROUNDS = 2
"""In the first a core may wake up or fetch the work from memory; the better of two is neither."""

COST = 0.0025
"""Beside a short call a probe has fewer rounds: at the best speed they take this share of it, which
no call feels."""

RECENT_S = 0.05
"""A probe stands for this long: from the end of a call to the beginning of the next."""


class SpeedProbe:
    """Times a fixed piece of work on these cores or, without any, where the thread is.

    ``best_s`` is the shortest probe of this run so far. ``within`` probes while calls run.
    """

    def __init__(
        self, cores: Sequence[int], best_s: float | None = None, within: Within | None = None
    ) -> None:
        self._cores = cores
        self._within = within or Within()
        self._best_before_s = best_s
        self._best_own_s: float | None = None
        self._probe_before_s: float | None = None
        self._began_s = 0.0
        self._rounds = ROUNDS
        self._latest: tuple[float, float | None] = (float("-inf"), None)
        self._within_s: list[float] = []
        self._best_within_s: float | None = None
        self._calls = 0

    @property
    def best_s(self) -> float | None:
        """The shortest probe so far, in seconds."""
        return shortest_s(self._best_before_s, self._best_own_s)

    def begin(self) -> None:
        """A call begins."""
        at_s, probe_s = self._latest
        self._probe_before_s = probe_s if time.monotonic() - at_s < RECENT_S else self._probe()
        self._within.start()
        self._began_s = time.monotonic()

    def end(self) -> tuple[Condition, ...]:
        """The probes of the call: those within it, and the longer of the two around it."""
        within_s = self._within.stop()
        work_s = len(self._cores or [0]) * (self.best_s or 0.0)
        self._rounds = affordable_rounds(time.monotonic() - self._began_s, work_s)
        return self.conditions_of_call(longest_s(self._probe_before_s, self._probe()), within_s)

    def conditions_of_call(
        self, probe_s: float | None, within_s: Sequence[Sequence[float]]
    ) -> tuple[Condition, ...]:
        """The conditions of a call. Its best probes become the measure for other calls, too."""
        self._calls += 1
        # The first call may compile, and leave most of the cores to the probes.
        if self._calls > 1:
            self._within_s += [each_s for of_core_s in within_s for each_s in of_core_s]
        if len(self._within_s) >= LEAST_LOOKS:
            self._best_within_s = quantiles(self._within_s, n=10, method="inclusive")[0]
        means_s = [fmean(of_core_s) for of_core_s in within_s if len(of_core_s) >= LEAST_LOOKS]
        return self.judge(conditions_of(((PROBE, probe_s), (WITHIN, longest_s(*means_s)))))

    def probe_at_rest(self, rest_s: float) -> tuple[Condition, ...]:
        """The longest probe while no call runs, within ``rest_s`` seconds."""
        probes_s = []
        for _ in range(LOOKS_AT_REST):
            time.sleep(rest_s / LOOKS_AT_REST)
            probes_s.append(self._time_work(ROUNDS))
        return self.judge(conditions_of([(PROBE, longest_s(*probes_s))]))

    def close(self) -> None:
        """No more calls are made."""
        self._within.close()

    def judge(self, conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
        """The conditions with their complaints: probes are compared with the best so far."""
        return tuple(
            replace(condition, complaint=self._complaint(condition))
            if condition.kind in (PROBE, WITHIN)
            else condition
            for condition in conditions
        )

    def best_conditions(self) -> tuple[Condition, ...]:
        """The best probes of this trial, as conditions of the trial."""
        return conditions_of(((BEST_PROBE, self._best_own_s), (BEST_WITHIN, self._best_within_s)))

    def _complaint(self, condition: Condition) -> str:
        if condition.kind == PROBE:
            return complaint(condition.value, self.best_s, SLOW)
        within = complaint(condition.value, self._best_within_s, SLOW_WITHIN)
        return f"{within} within calls" if within else ""

    def _probe(self) -> float | None:
        probe_s = self._time_work(self._rounds)
        self._best_own_s = shortest_s(probe_s, self._best_own_s)
        self._latest = (time.monotonic(), probe_s)
        return probe_s

    def _time_work(self, rounds: int) -> float | None:
        return slowest_s(self._cores, WORK, rounds, ENOUGH * (self.best_s or 0.0))


def affordable_rounds(call_s: float, work_s: float) -> int:
    """How many rounds of work a call of so many seconds does not feel.

    ``work_s`` is how long a round takes on all cores at the best speed, 0 where that is unknown.
    """
    affordable = int(COST * call_s / work_s) if work_s else ROUNDS
    return min(ROUNDS, max(LEAST_ROUNDS, affordable))


def complaint(probe_s: float, best_s: float | None, slow: float) -> str:
    """What a slow probe says against its call, or an empty text."""
    if best_s is None or probe_s <= slow * best_s:
        return ""
    return f"the processor computed at {best_s / probe_s:.0%} of its best speed"


def conditions_of(probes_s: Iterable[tuple[str, float | None]]) -> tuple[Condition, ...]:
    """The conditions of these kinds that were read."""
    return tuple(Condition(kind, probe_s) for kind, probe_s in probes_s if probe_s is not None)


def shortest_s(*probes_s: float | None) -> float | None:
    """The shortest of these, without those that were not read."""
    return min((probe_s for probe_s in probes_s if probe_s is not None), default=None)


def longest_s(*probes_s: float | None) -> float | None:
    """The longest of these, without those that were not read."""
    return max((probe_s for probe_s in probes_s if probe_s is not None), default=None)


def best_probe_s(trials: Iterable[Trial]) -> float | None:
    """The shortest probe beside any call of these trials, in seconds."""
    measurements = [trial.measurement for trial in trials]
    conditions = [
        condition
        for measurement in measurements
        if measurement
        for condition in measurement.conditions
    ]
    return shortest_s(
        *(condition.value for condition in conditions if condition.kind == BEST_PROBE)
    )
