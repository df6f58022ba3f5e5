"""What the trials of a search cost beside what they must: phase by phase, from a ledger.

    python -m tests.benchmarks.trial_cost history.db

Must is start, load, what is built (export, compiling, sessions), the first and the second call,
three calls, as many of the incumbent, and the check. Prints a row a measured trial, and the median
of the costs over what they must be.
"""

from __future__ import annotations

import argparse
from statistics import median

from search_space.trial import INCUMBENT, Measurement, Trial
from storage import Store
from tuner.records.costs import BUILDING, LOADING

CALLS = 3


def total_s(measurement: Measurement, *kinds: str) -> float:
    """The seconds of these kinds."""
    return sum(sum(measurement.seconds.get(kind, ())) for kind in kinds)


def needed_s(measurement: Measurement) -> float:
    """What the trial cannot do without."""
    once_s = total_s(measurement, *LOADING, *BUILDING, "first_call", "second_call", "check")
    own_s = CALLS * median(measurement.seconds["steady"])
    incumbent_s = CALLS * median(measurement.seconds.get(INCUMBENT, (0.0,)))
    return once_s + own_s + incumbent_s


def row(trial: Trial, measurement: Measurement) -> str:
    """The seconds of the trial by phase."""
    parts = {
        "start, load": total_s(measurement, *LOADING),
        "built": total_s(measurement, *BUILDING),
        "first call": total_s(measurement, "first_call"),
        "second": total_s(measurement, "second_call"),
        "warm-up": total_s(measurement, "warm_up"),
        "steady": total_s(measurement, "steady", "disturbed"),
        "incumbent": total_s(measurement, INCUMBENT),
        "wait": total_s(measurement, "wait"),
        "check": total_s(measurement, "check"),
    }
    rest_s = trial.cost_s - sum(parts.values())
    over = trial.cost_s / needed_s(measurement)
    cells = [f"{part_s:.2f}" for part_s in (trial.cost_s, *parts.values(), rest_s)]
    return " | ".join(["", trial.config.describe(), *cells, f"{over:.2f}", ""]).strip()


def main() -> None:
    """Print the rows of all trials of the searches in a store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store")
    with Store(parser.parse_args().store, read_only=True) as store:
        trials = [stored.trial for stored in store.trials()]
    head = "| config | cost | start, load | built | first call | second | warm-up | steady "
    print(head + "| incumbent | wait | check | rest | over what it must be |")
    print("|" + " --- |" * 13)
    ratios = []
    for trial in trials:
        if trial.measurement is not None and trial.purpose.is_searched:
            print(row(trial, trial.measurement))
            ratios.append(trial.cost_s / needed_s(trial.measurement))
    print(f"median of {len(ratios)} trials: {median(ratios):.2f}")


if __name__ == "__main__":
    main()
