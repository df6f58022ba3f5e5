"""Optuna's own plots of a study that is made from stored trials."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from optuna.trial import FrozenTrial
from optuna.visualization import plot_parallel_coordinate, plot_param_importances

from tuner.records.trial_record import TrialRecord
from tuner.search.optuna.rebuilt import study_of

LEAST_TRIALS = 4
"""Of fewer complete trials an importance is noise."""


def latency(trial: FrozenTrial) -> float:
    """What the plots are of."""
    return float(trial.values[0])


def optuna_figures(records: Sequence[TrialRecord]) -> dict[str, Any]:
    """Title to figure of Plotly: importance and parallel coordinates, where they say anything."""
    study = study_of(records)
    complete = [trial for trial in study.trials if trial.values]
    varied = {
        name
        for name in (complete[0].params if complete else {})
        if len({trial.params[name] for trial in complete}) > 1
    }
    if len(complete) < LEAST_TRIALS or not varied:
        return {}
    with warnings.catch_warnings():
        # Experimental parts, and that its importance is for low values: those are what we want.
        warnings.simplefilter("ignore")
        plots: dict[str, Callable[..., Any]] = {
            "Importance of each knob for the latency": plot_param_importances,
            "Configs and latencies": plot_parallel_coordinate,
        }
        return {
            title: plot(study, target=latency, target_name="latency in s", params=sorted(varied))
            for title, plot in plots.items()
        }
