"""What the readings of a trial come to, kept beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, exists, func, insert, select, update

from search_space.config import BASELINE
from search_space.identity import fingerprint
from search_space.knob import Tier
from search_space.trial import Failure, Measurement, Trial, too_far
from storage.place import Place
from storage.reading import read_trials
from storage.schema import config, figures, study, trial

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


def keep_figures(connection: Connection, trials: Sequence[Trial]) -> None:
    """Insert the figures of stored trials, and say what each is compared with."""
    rows = [figures_of(each) for each in trials]
    connection.execute(insert(figures), rows)
    for each in trials:
        relate(connection, each)


def relate(connection: Connection, one: Trial) -> None:
    """Name the baseline of a trial; one of a race's round is that of the whole round."""
    if one.config.is_baseline:
        if one.race is not None and one.measurement is not None:
            same_round = _round_of(one).where(trial.c.number != one.number)
            of_round = figures.c.trial_number.in_(same_round)
            connection.execute(update(figures).where(of_round).values(baseline=one.number))
        return
    baseline = connection.scalar(_baseline(one))
    if baseline is not None:
        own = figures.c.trial_number == one.number
        connection.execute(update(figures).where(own).values(baseline=baseline))


def fill(connection: Connection, place: Place) -> None:
    """Make the rows that are missing, after a migration."""
    lacking = ~exists().where(figures.c.trial_number == trial.c.number)
    query = select(trial.c.number).where(lacking).order_by(trial.c.number)
    numbers = connection.scalars(query).all()
    for start in range(0, len(numbers), BATCH):
        part = numbers[start : start + BATCH]
        stored = read_trials(connection, [trial.c.number.in_(part)], place)
        keep_figures(connection, [each.trial for each in stored])


def relate_again(connection: Connection, place: Place) -> None:
    """Name another baseline for the trials whose own has been deleted."""
    gone = figures.c.baseline.is_not(None) & ~exists().where(trial.c.number == figures.c.baseline)
    numbers = connection.scalars(select(figures.c.trial_number).where(gone)).all()
    for start in range(0, len(numbers), BATCH):
        part = numbers[start : start + BATCH]
        of_part = figures.c.trial_number.in_(part)
        connection.execute(update(figures).where(of_part).values(baseline=None))
        for stored in read_trials(connection, [trial.c.number.in_(part)], place):
            relate(connection, stored.trial)


def _round_of(one: Trial) -> Any:
    in_round = (trial.c.race == one.race) & (trial.c.round == one.round)
    return select(trial.c.number).where(in_round, trial.c.study_id == one.study_id)


def _baseline(one: Trial) -> Any:
    measured_baseline = and_(
        config.c.fingerprint == fingerprint(BASELINE.changes), figures.c.latency_s.is_not(None)
    )
    own, other = study.alias("own"), study.alias("other")
    same = and_(
        *(own.c[key] == other.c[key] for key in ("machine_id", "software_id", "workload_id"))
    )
    before = (
        select(trial.c.number)
        .join(other, other.c.id == trial.c.study_id)
        .join(own, same)
        .join(config, config.c.id == trial.c.config_id)
        .join(figures, figures.c.trial_number == trial.c.number)
        .where(measured_baseline, own.c.id == one.study_id, trial.c.number < one.number)
        .order_by(trial.c.number.desc())
        .limit(1)
    )
    if one.race is None:
        return before
    in_round = (
        _round_of(one)
        .join(config, config.c.id == trial.c.config_id)
        .join(figures, figures.c.trial_number == trial.c.number)
        .where(measured_baseline)
        .limit(1)
    )
    return select(func.coalesce(in_round.scalar_subquery(), before.scalar_subquery()))
