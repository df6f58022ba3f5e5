"""What the trials of earlier studies say of choices: the evidence that priors are made from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy

from search_space.budget import UNLIMITED, Budget
from search_space.pipeline.spec import PipelineSpec
from search_space.trial import Trial
from tuner.records.objective import LATENCY
from tuner.search.blame import Blame
from tuner.search.candidates import Columns
from tuner.search.model import Model
from tuner.search.prior import NOTHING, PEAK, Evidence, Key
from tuner.search.weights import Weights

INFORMED = 0.7
"""An effect is evidence where trials have narrowed its spread to less than this share."""


def evidence_of(
    trials: Sequence[Trial], budget: Budget = UNLIMITED, spec: PipelineSpec | None = None
) -> Evidence | None:
    """What the trials of one workload on one machine show; None without a measured baseline.

    The budget is that of the trials: what ran out of memory did so within it. Without the spec
    nothing is said of peaks, for they go with the weights.
    """
    baseline = next((trial for trial in trials if trial.config.is_baseline), None)
    if baseline is None or baseline.measurement is None or len(trials) < 2:
        return None
    columns = tuple(sorted({change for trial in trials for change in trial.config.items()}))
    changes = numpy.array(
        [[float(trial.config.get(knob) == value) for knob, value in columns] for trial in trials]
    )
    weights = Weights(spec, columns)
    model = Model(columns, changes, trials, NOTHING, budget, LATENCY, weights)
    effects: dict[Key, tuple[float, float]] = {}
    for output, (means, variances, sds) in model.effects().items():
        for column, mean, variance, sd in zip(columns, means, variances, sds, strict=True):
            told = sd > 0 and not (output == PEAK and spec is None)
            if told and variance < (INFORMED * sd) ** 2:
                effects[output, *column] = (float(mean), float(variance))
    return Evidence(effects, _blamed(columns, model.crashes), _blamed(columns, model.lossy))


def _blamed(columns: Columns, blame: Blame) -> dict[tuple[str, str], float]:
    """For each choice that was tried, the probability that it is to blame."""
    return {
        column: float(probability)
        for column, trials, probability in zip(columns, blame.trials, blame.single, strict=True)
        if trials
    }
