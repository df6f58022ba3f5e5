"""What trials cost, by what their time went into, and what a race of them will cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from search_space.trial import Measurement, Trial
from tuner.records.objective import LATENCY, Objective
from tuner.records.rules import FINALISTS, REACH

LOADING = ("start", "load")
BUILDING = ("record", "engine", "export", "calibrate", "quantize", "session")
CALLS = ("second_call", "warm_up", "steady", "disturbed", "incumbent")

CACHED = ("export", "calibrate", "quantize")
"""What a second start of the same config finds in the cache."""

COMPILED_AGAIN = 0.2
"""The share of a first call's compilation that is taken to be left where inductor's cache is
filled: tracing and reading. An estimate ahead of a race, by which nobody wins or loses."""

ROUND_CALLS = 8
"""The calls of a trial in a round, with those that warm up: two to four, and then three to ten."""


def spent_s(trials: Iterable[Trial]) -> dict[str, float]:
    """The seconds of trials by what they went into; their sum is what the trials cost.

    ``load`` is start and load, ``build`` export, quantization and compiling, ``calls`` those of the
    incumbent too, ``check`` fidelity and the noise floor; ``other`` is what nothing accounts for,
    such as the end of a process, and all of what failed.
    """
    total_s = dict.fromkeys(("load", "build", "calls", "wait", "check", "other"), 0.0)
    for trial in trials:
        parts_s = {} if trial.measurement is None else _parts_s(trial.measurement)
        for name, part_s in parts_s.items():
            total_s[name] += part_s
        total_s["other"] += max(0.0, trial.cost_s - sum(parts_s.values()))
    return total_s


def _parts_s(measurement: Measurement) -> dict[str, float]:
    compiling_s = _compiling_s(measurement)
    return {
        "load": _sum_s(measurement, LOADING),
        "build": _sum_s(measurement, BUILDING) + compiling_s,
        "calls": _sum_s(measurement, ("first_call", *CALLS)) - compiling_s,
        "wait": _sum_s(measurement, ("wait",)),
        "check": _sum_s(measurement, ("check",)),
    }


def _sum_s(measurement: Measurement, kinds: Iterable[str]) -> float:
    return sum(sum(measurement.seconds.get(kind, ())) for kind in kinds)


def _compiling_s(measurement: Measurement) -> float:
    """By how much the first call took longer than the second."""
    first_s, second_s = (_sum_s(measurement, (kind,)) for kind in ("first_call", "second_call"))
    return max(0.0, first_s - second_s)


def round_s(measurement: Measurement) -> float:
    """What one more trial of a config is expected to take in a race."""
    set_up = [*LOADING, *(kind for kind in BUILDING if kind not in CACHED), "check"]
    compiling_s = COMPILED_AGAIN * _compiling_s(measurement)
    calls_s = ROUND_CALLS * median(measurement.seconds["steady"])
    return _sum_s(measurement, set_up) + compiling_s + calls_s


def race_s(trials: Sequence[Trial], rounds: int, objective: Objective = LATENCY) -> float:
    """What so many rounds of the best of these trials and the baseline are expected to take."""
    baseline = [trial.measurement for trial in trials if trial.config.is_baseline]
    rivals = [trial.measurement for trial in trials if not trial.config.is_baseline]
    order = sorted((each for each in rivals if each is not None), key=objective.value)
    if not order:
        return 0.0
    reach = REACH * objective.value(order[0])
    entrants = [each for each in order[:FINALISTS] if objective.value(each) <= reach]
    return rounds * sum(round_s(each) for each in (*baseline, *entrants) if each is not None)


def paid_back_images(
    spent: Mapping[str, float], tuned_image_s: float, baseline_image_s: float
) -> int | None:
    """After how many images the tuned config has saved the seconds of tuning; None for never."""
    saved_s = baseline_image_s - tuned_image_s
    return None if saved_s <= 0 else max(1, int(-(-sum(spent.values()) // saved_s)))
