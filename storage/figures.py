"""What the readings of a trial come to, kept beside them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, and_, bindparam, exists, insert, select, update

from search_space.config import BASELINE
from search_space.identity import fingerprint
from search_space.knob import Tier
from search_space.trial import Failure, Measurement, Trial, too_far
from storage.place import Place
from storage.reading import read_trials
from storage.schema import config, figures, study, trial

KEYS = ("machine_id", "software_id", "workload_id")
"""What trials have in common that can be compared."""

BATCH = 500
"""Trials read at once: of thousands the readings would fill the memory, of few each read counts."""


def figures_of(trial: Trial) -> dict[str, Any]:
    """The row of a trial, but for the baseline that it is compared with."""
    outcome = trial.outcome
    measured = outcome if isinstance(outcome, Measurement) else None
    failure = _judged(trial)
    state = "failed" if measured is None else "infeasible" if failure else "measured"
    places = {peak.place for peak in measured.peaks} if measured else set()
    peak_bytes = outcome.peak_bytes if measured is None or places & {"device", "host"} else None
    return {
        "trial_number": trial.number,
        "state": state,
        "failure": failure.kind.value if failure else None,
        "phase": (failure.phase or None) if failure else None,
        "message": failure.message if failure else None,
        "latency_s": measured.latency_s if measured and measured.seconds.get("steady") else None,
        "start_up_s": measured.start_up_s if measured else None,
        "peak_bytes": peak_bytes,
        "host_peak_bytes": measured.host_peak_bytes if measured and "host" in places else None,
        "psnr_db": measured.psnr_db if measured else None,
        "ssim": measured.fidelity.get("ssim") if measured else None,
        "lpips": measured.fidelity.get("lpips") if measured else None,
        "tier": measured.tier_name if measured else None,
        "allowed": _allowed(measured) if measured and measured.compared else None,
        "disturbed": outcome.disturbed,
        "unstable": outcome.unstable,
    }


def _judged(trial: Trial) -> Failure | None:
    # A trial without any reading of memory, as tests make them, is judged by nothing.
    measured = trial.measurement
    return None if measured and not measured.peaks else trial.judged(trial.budget)


def _allowed(measured: Measurement) -> str:
    return ",".join(tier.value for tier in Tier if too_far(measured, tier) is None)


def keep_figures(connection: Connection, stored: Trial) -> None:
    """Insert the figures of a stored trial, and say what it is compared with.

    A trial of a race's round is compared with the baseline of its round, which may come later.
    """
    row = figures_of(stored) | {"baseline": _baseline(connection, stored)}
    connection.execute(insert(figures), row)
    if stored.config.is_baseline and stored.race is not None and stored.measurement is not None:
        connection.execute(OF_ROUND, _names(stored) | {"to": stored.number})


def fill(connection: Connection, place: Place) -> None:
    """Make the rows that are missing, after a migration."""
    lacking = ~exists().where(figures.c.trial_number == trial.c.number)
    query = select(trial.c.number).where(lacking).order_by(trial.c.number)
    numbers = connection.scalars(query).all()
    for start in range(0, len(numbers), BATCH):
        part = numbers[start : start + BATCH]
        for stored in read_trials(connection, [trial.c.number.in_(part)], place):
            keep_figures(connection, stored.trial)


def relate_again(connection: Connection, place: Place) -> None:
    """Name another baseline for the trials whose own has been deleted."""
    gone = figures.c.baseline.is_not(None) & ~exists().where(trial.c.number == figures.c.baseline)
    numbers = connection.scalars(select(figures.c.trial_number).where(gone)).all()
    for start in range(0, len(numbers), BATCH):
        part = numbers[start : start + BATCH]
        for stored in read_trials(connection, [trial.c.number.in_(part)], place):
            own = figures.c.trial_number == stored.trial.number
            baseline = _baseline(connection, stored.trial)
            connection.execute(update(figures).where(own).values(baseline=baseline))


def _baseline(connection: Connection, one: Trial) -> int | None:
    if one.config.is_baseline:
        return None
    of_round = None if one.race is None else connection.scalar(IN_ROUND, _names(one))
    return of_round or connection.scalar(BEFORE, _names(one))


def _names(one: Trial) -> dict[str, Any]:
    return {"study": one.study_id, "number": one.number, "race": one.race, "round": one.round}


# Made once: to make them takes longer than to run them.
OWN, OTHER = study.alias("own"), study.alias("other")
MEASURED_BASELINES = (
    select(trial.c.number)
    .join(config, config.c.id == trial.c.config_id)
    .join(figures, figures.c.trial_number == trial.c.number)
    .where(config.c.fingerprint == fingerprint(BASELINE.changes), figures.c.latency_s.is_not(None))
    .limit(1)
)
BEFORE = (
    MEASURED_BASELINES.join(OTHER, OTHER.c.id == trial.c.study_id)
    .join(OWN, and_(*(OWN.c[key] == OTHER.c[key] for key in KEYS)))
    .where(OWN.c.id == bindparam("study"), trial.c.number < bindparam("number"))
    .order_by(trial.c.number.desc())
)
ROUND = and_(
    trial.c.study_id == bindparam("study"),
    trial.c.race == bindparam("race"),
    trial.c.round == bindparam("round"),
)
IN_ROUND = MEASURED_BASELINES.where(ROUND)
OTHERS_OF_ROUND = select(trial.c.number).where(ROUND, trial.c.number != bindparam("number"))
OF_ROUND = (
    update(figures)
    .where(figures.c.trial_number.in_(OTHERS_OF_ROUND))
    .values(baseline=bindparam("to"))
)
