"""Our own search: what to try next, and when nothing more is worth a trial."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from math import inf

import numpy
from numpy.typing import NDArray

from search_space.budget import Budget
from search_space.catalog import check_known
from search_space.config import BASELINE, Config
from search_space.knob import Tier
from search_space.proposal import Proposal, Reason
from search_space.space import Space
from search_space.trial import Failure, Measurement, Trial
from tuner.records.objective import Objective, best, value_of
from tuner.records.progress import Ending
from tuner.search.candidates import Candidates, Rows, keys, unique
from tuner.search.forecasts import Forecasts, improvement
from tuner.search.model import Model
from tuner.search.prior import CALL, Prior
from tuner.search.weights import Weights

Matrix = NDArray[numpy.float64]

SAMPLED = 4_000
"""Random configs that are looked at where the space is too large to be listed."""

BEAM = 24
"""The best configs so far whose neighbours are looked at: more found nothing better."""

CLIMBS = 5
"""So many changes away from what is sampled a config can be found; most climbs end earlier."""

COST_POWER = 0.25
"""Expected improvement is divided by this power of the expected seconds. By the seconds themselves
cheap trials crowd out what compiles. On synthetic machines the square root and none at all found
less in the first ten trials."""

WORTH = 0.01
"""A search ends where no config is expected to improve on the best by 1 %."""

DOUBT = 2.25
"""Before a search ends, spreads are taken to be half as large again: what a model has not been told
of, it is too sure of."""

LEAST_CHANCE = 0.1
"""A choice with which no config is likelier to work and fit needs no trial."""

SURE_SD = 3.0
"""A choice that is expected to lose by so many standard deviations needs no trial."""

STAND_IN = 0.1
"""Where the baseline did not run, a first config that changes the image counts for so much less."""

UNFIT_GAP = 1.0
"""Where nothing fits yet, a config is compared with one e times as slow as the baseline, so that
what fits and is fast comes first and what fits at all comes before what does not."""
FORECAST_FIELDS = tuple(field.name for field in fields(Forecasts))


@dataclass(frozen=True)
class Ranking:
    """Candidates with what is expected of each, and how much each is worth trying."""

    model: Model
    target: float
    """The logarithm of the value to improve on, over the baseline's."""

    rows: Rows
    encoded: Matrix
    forecasts: Forecasts
    gain: Matrix
    score: Matrix
    hope: Matrix
    """The gain if the model is too sure of itself: what a search must not end before."""

    def only(self, chosen: NDArray[numpy.bool_]) -> Ranking:
        """Some of the candidates."""
        return replace(
            self,
            rows=self.rows[chosen],
            encoded=self.encoded[chosen],
            forecasts=Forecasts(
                *(getattr(self.forecasts, name)[chosen] for name in FORECAST_FIELDS)
            ),
            gain=self.gain[chosen],
            score=self.score[chosen],
            hope=self.hope[chosen],
        )


class Proposer:
    """Proposes configs by the trials so far and the prior."""

    def __init__(
        self, space: Space, budget: Budget, objective: Objective, seed: int, prior: Prior
    ) -> None:
        self._space, self._budget, self._objective, self._prior = space, budget, objective, prior
        self._candidates = Candidates(space, seed)
        self._weights = Weights(space.context.spec, self._candidates.columns)
        self._changes_image = numpy.array(
            [
                float(not Tier.LOSSLESS.allows(check_known(name).choice(value).tier))
                for name, value in self._candidates.columns
            ]
        )
        self._sample: Rows | None = None

    def next(
        self, trials: Sequence[Trial], left_s: float = inf, busy: Collection[Config] = ()
    ) -> Proposal | Ending:
        """What to try next, or an ending: all has been tried, or nothing is worth a trial.

        What is ``busy`` or expected to take longer than ``left_s`` is left alone.
        """
        ranking = self.ranking(trials, busy)
        if ranking is None:
            return Ending.EXHAUSTED
        in_time = ranking.forecasts.cost_s <= left_s
        if not in_time.any():
            return Ending.TIME
        ranking = ranking.only(in_time)
        chosen = int(numpy.argmax(ranking.score))
        unseen = self._unseen(trials, ranking)
        if self._has_fit(trials) and ranking.hope.max() < WORTH:
            bears = ranking.encoded @ unseen
            if not bears.any():
                return Ending.CONVERGED
            # One trial shows several: what they bring together bounds what each brings.
            chosen = int(numpy.argmax(numpy.sqrt(bears) * (ranking.score + 1e-9)))
        return self._proposal(ranking, chosen, trials, unseen)

    def prediction(self) -> Proposal | None:
        """What the prior alone expects most of, before any trial; None where it knows nothing."""
        ranking = self.ranking(())
        if ranking is None or not any(map(self._prior.knows, self._candidates.columns)):
            return None
        chosen = int(numpy.argmax(ranking.gain))
        config = self._candidates.config(ranking.rows[chosen])
        return Proposal(config, Reason.PRIOR, ranking.forecasts.expected(chosen))

    def ranking(self, trials: Sequence[Trial], busy: Collection[Config] = ()) -> Ranking | None:
        """The untried candidates; None where there are none."""
        model = self._model(trials)
        tried = self._tried(trials, busy)
        target = self._target(trials, model)
        listed = self._candidates.all
        if listed is not None:
            rows = listed[~numpy.isin(keys(listed), keys(tried))] if len(tried) else listed
            return self._ranked(model, rows, target) if len(rows) else None
        rows = self._pool(trials, tried)
        if not len(rows):
            return None
        ranking = self._ranked(model, rows, target)
        for _ in range(CLIMBS):
            top = ranking.rows[numpy.argsort(-ranking.score)[:BEAM]]
            around = self._untried(self._candidates.neighbours(top), ranking.rows, tried)
            if not len(around):
                break
            climbed = self._ranked(model, around, target)
            ranking = _joined(ranking, climbed)
            if climbed.score.max() < ranking.score.max():
                break
        return ranking

    def _model(self, trials: Sequence[Trial]) -> Model:
        rows = [self._candidates.encoded_config(trial.config) for trial in trials]
        columns = self._candidates.columns
        changes = numpy.concatenate(rows) if rows else numpy.zeros((0, len(columns)))
        return Model(
            columns,
            changes,
            trials,
            self._prior,
            self._budget,
            self._objective,
            self._weights,
        )

    def _tried(self, trials: Sequence[Trial], busy: Collection[Config]) -> Rows:
        # The baseline is measured before anything is proposed.
        configs = {BASELINE, *busy, *(trial.config for trial in trials)}
        held = [config for config in configs if self._space.holds(config)]
        rows = [self._candidates.row(config) for config in held]
        return numpy.array(rows, dtype=int).reshape(len(rows), len(self._candidates.names))

    def _pool(self, trials: Sequence[Trial], tried: Rows) -> Rows:
        if self._sample is None:
            self._sample = self._candidates.random(SAMPLED)
        nearby = [self._candidates.starts()]
        for trial in self._best_trials(trials):
            row = self._candidates.row(trial.config)[None]
            nearby.append(self._candidates.second_neighbours(row))
        rows = unique(numpy.concatenate([self._sample, *nearby]))
        return rows[~numpy.isin(keys(rows), keys(tried))] if len(tried) else rows

    def _best_trials(self, trials: Sequence[Trial], count: int = 2) -> list[Trial]:
        held = [
            trial
            for trial in trials
            if trial.measurement is not None
            and trial.judged(self._budget) is None
            and self._space.holds(trial.config)
        ]
        return sorted(held, key=lambda trial: value_of(trial, self._objective))[:count]

    def _untried(self, rows: Rows, seen: Rows, tried: Rows) -> Rows:
        known = numpy.concatenate([seen, tried])
        return rows[~numpy.isin(keys(rows), keys(known))] if len(rows) else rows

    def _has_fit(self, trials: Sequence[Trial]) -> bool:
        return best(list(trials), self._budget, self._objective, _baseline(trials)) is not None

    def _target(self, trials: Sequence[Trial], model: Model) -> float:
        winner = best(list(trials), self._budget, self._objective, _baseline(trials))
        seen = model.observations
        if winner is None or seen is None:
            return UNFIT_GAP if trials else 0.0
        unit = seen.trials[0].measurement
        assert unit is not None
        unit = (
            next((each.measurement for each in seen.trials if each.config.is_baseline), None)
            or unit
        )
        return float(numpy.log(value_of(winner, self._objective) / self._objective.value(unit)))

    def _ranked(self, model: Model, rows: Rows, target: float) -> Ranking:
        encoded = self._candidates.encoded(rows)
        forecasts = model.forecast(encoded)
        gain = improvement(forecasts.log_value, forecasts.variance, target) * forecasts.feasible
        score = gain / forecasts.cost_s**COST_POWER
        hope = improvement(forecasts.log_value, DOUBT * forecasts.variance, target)
        hope = hope * numpy.sqrt(forecasts.feasible)
        if model.trials and model.observations is None:
            # Its image will stand in for the baseline's, with which all others are compared.
            score = numpy.where(encoded @ self._changes_image > 0, STAND_IN * score, score)
        return Ranking(model, target, rows, encoded, forecasts, gain, score, hope)

    def _unseen(self, trials: Sequence[Trial], ranking: Ranking) -> Matrix:
        """1 for each change that no trial has shown, and that nothing rules out."""
        columns = self._candidates.columns
        seen = numpy.zeros(len(columns))
        failures = numpy.zeros(len(columns))
        for trial in trials:
            row = self._candidates.encoded_config(trial.config)[0]
            if isinstance(trial.outcome, Failure):
                failures += row
            else:
                seen += row
        hopeless = self._prior.means(CALL, columns) - SURE_SD * self._prior.sds(CALL, columns) > 0
        if ranking.model.trust != "prior":
            hopeless[:] = False
        bears = ranking.encoded > 0
        chance = numpy.where(bears, ranking.forecasts.feasible[:, None], 0.0).max(axis=0)
        ruled_out = (chance < LEAST_CHANCE) | (failures > 1) | hopeless
        return numpy.where((seen > 0) | ruled_out, 0.0, 1.0)

    def _proposal(
        self, ranking: Ranking, chosen: int, trials: Sequence[Trial], unseen: Matrix
    ) -> Proposal:
        config = self._candidates.config(ranking.rows[chosen])
        reason = self._reason(ranking, chosen, trials, unseen)
        return Proposal(config, reason, ranking.forecasts.expected(chosen))

    def _reason(
        self, ranking: Ranking, chosen: int, trials: Sequence[Trial], unseen: Matrix
    ) -> Reason:
        if trials and not self._has_fit(trials):
            return Reason.SPARING
        new = ranking.encoded[chosen] * unseen
        by_prior = float(new @ self._prior.means(CALL, self._candidates.columns))
        mean = float(ranking.forecasts.log_value[chosen])
        if not trials or (by_prior < 0 and by_prior < mean / 3):
            return Reason.PRIOR
        return Reason.MODEL if mean < ranking.target else Reason.EXPLORATION


def _baseline(trials: Sequence[Trial]) -> Measurement | None:
    return next((trial.measurement for trial in trials if trial.config.is_baseline), None)


def _joined(one: Ranking, two: Ranking) -> Ranking:
    fields = [
        numpy.concatenate([getattr(one.forecasts, name), getattr(two.forecasts, name)])
        for name in FORECAST_FIELDS
    ]
    return Ranking(
        one.model,
        one.target,
        numpy.concatenate([one.rows, two.rows]),
        numpy.concatenate([one.encoded, two.encoded]),
        Forecasts(*fields),
        numpy.concatenate([one.gain, two.gain]),
        numpy.concatenate([one.score, two.score]),
        numpy.concatenate([one.hope, two.hope]),
    )
