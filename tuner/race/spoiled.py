"""Whether the machine was too busy during a race for a speed-up to be told.

A neighbour slows one config more than another: where others took 1.6 of 2 cores, calls of PyTorch
took 26 times as long, those of OpenVINO 3 times. So their ratio is not that of the quiet
machine, however near to each other the calls lie.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

from search_space.trial import OTHERS_CORES, Measurement, Trial
from tuner.measuring.noise.neighbours import BUSY_CORES
from tuner.measuring.precision import MINIMUM_SAMPLES
from tuner.race.paired_calls import calm_together

TIMED = ("steady", "disturbed")


def spoiled(trials: Iterable[Trial]) -> str | None:
    """Why these trials of a race tell nothing of the quiet machine, or None.

    In each round enough calls must have been calm, in the same turns where they were interleaved;
    or neighbours took so little that all may count.
    """
    rounds: dict[int | None, list[Measurement]] = {}
    for trial in trials:
        if trial.measurement is not None:
            rounds.setdefault(trial.round, []).append(trial.measurement)
    takers = [fmean(map(_others_cores, round)) for round in rounds.values() if not _calm(round)]
    busy = [cores for cores in takers if cores > BUSY_CORES]
    if not busy:
        return None
    of = f"{len(busy)} of {len(rounds)} rounds" if len(busy) < len(rounds) else "the race"
    return f"other processes took {max(busy):.1f} cores during {of}"


def _calm(round: Sequence[Measurement]) -> bool:
    if all(measurement.turns_s() for measurement in round):
        return len(calm_together(round)) >= MINIMUM_SAMPLES
    return all(measurement.disturbed is None for measurement in round)


def _others_cores(measurement: Measurement) -> float:
    conditions = [each for each in measurement.conditions if each.sample in TIMED]
    return fmean([each.value for each in conditions if each.kind == OTHERS_CORES] or [0.0])
