"""Studies of Optuna made from stored trials, for its dashboard, its plots and its files."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_space.config import completed
from tuner.records.trial_record import TrialRecord

optuna.logging.set_verbosity(optuna.logging.WARNING)

TARGETS = ("latency_s", "peak_bytes")
"""What is made small: an Optuna study of two objectives has a Pareto front."""

ATTRIBUTES = ("number", "state", "purpose", "speedup", "psnr_db", "tier", "failure", "message")


def rebuilt(records: Sequence[TrialRecord], storage: BaseStorage | None = None) -> list[str]:
    """An Optuna study for each workload and machine; returns their names.

    Trials that failed are failed ones; what is beyond the limits of its run breaks a constraint.
    """
    storage = storage or InMemoryStorage()
    groups: dict[tuple[int, int, int], list[TrialRecord]] = {}
    for record in records:
        groups.setdefault(record.group, []).append(record)
    return [_study(group, storage).study_name for group in groups.values()]


def study_of(records: Sequence[TrialRecord]) -> optuna.Study:
    """One study in memory of trials that can be compared."""
    return _study(records, InMemoryStorage())


def in_memory(records: Sequence[TrialRecord]) -> InMemoryStorage:
    """All studies, in a storage that ends with the process."""
    storage = InMemoryStorage()
    rebuilt(records, storage)
    return storage


def to_file(records: Sequence[TrialRecord], path: Path) -> list[str]:
    """All studies in a journal of Optuna's, which its tools read; returns their names."""
    with _fresh(path) as fresh:
        return rebuilt(records, JournalStorage(JournalFileBackend(str(fresh))))


@contextmanager
def _fresh(path: Path) -> Iterator[Path]:
    # Under its name once it is whole.
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _study(records: Sequence[TrialRecord], storage: BaseStorage) -> optuna.Study:
    first = records[0]
    size = f" {first.size}" if first.size else ""
    name = (
        f"{first.model}{size} on {first.device} ({first.machine}-{first.software}-{first.workload})"
    )
    study = optuna.create_study(storage=storage, study_name=name, directions=["minimize"] * 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(list(TARGETS))
    spaces = _distributions(records)
    study.add_trials([_trial(record, spaces) for record in records])
    return study


def _distributions(records: Sequence[TrialRecord]) -> Mapping[str, BaseDistribution]:
    """The knobs that are changed by any of the trials, with the choices that were tried."""
    tried: dict[str, set[str]] = {}
    for record in records:
        for knob, choice in completed(record.config).items():
            tried.setdefault(knob, set()).add(choice)
    return {
        knob: CategoricalDistribution(sorted(choices))
        for knob, choices in tried.items()
        if len(choices) > 1
    }


def _trial(record: TrialRecord, spaces: Mapping[str, BaseDistribution]) -> FrozenTrial:
    is_complete = record.latency_s is not None and record.peak_bytes is not None
    choices = completed(record.config)
    facts: dict[str, Any] = {name: getattr(record, name) for name in ATTRIBUTES}
    trial = create_trial(
        state=TrialState.COMPLETE if is_complete else TrialState.FAIL,
        values=[getattr(record, name) for name in TARGETS] if is_complete else None,
        params={knob: choices[knob] for knob in spaces},
        distributions=dict(spaces),
        user_attrs={name: value for name, value in facts.items() if value is not None},
        constraints={"limits": 1.0 if record.state == "infeasible" else -1.0},
    )
    # Optuna's clock has no zone.
    began = datetime.fromisoformat(record.started_at).replace(tzinfo=None)
    trial.datetime_start = began
    trial.datetime_complete = began + timedelta(seconds=record.cost_s)
    return trial
