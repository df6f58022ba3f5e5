"""Trials go to files and out of the store, and come from other stores."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from search_space.errors import UsageError
from storage import Store, default_url
from storage.summary import COLUMNS
from storage.transfer import Merged
from tuner.history.read import History
from tuner.records.trial_record import TrialRecord


def as_csv(records: Sequence[TrialRecord]) -> str:
    """A line for each trial, under a line of the fields' names; what is not known is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(plain, records))
    return text.getvalue()


def plain(record: TrialRecord) -> dict[str, Any]:
    """The fields as the view has them: the config as JSON."""
    return record.values() | {"config": json.dumps(record.config.changes)}


def numbers_of(history: History, trials: Sequence[int], studies: Sequence[int]) -> list[int]:
    """The trials named, one by one or by their study; raises UsageError where there is none."""
    numbers = {history.trial(number).trial.number for number in trials}
    for study in studies:
        found = [record.number for record in history.where("study", "=", study)]
        if not found:
            raise UsageError(f"no study {study}: list them with 'tune studies'")
        numbers.update(found)
    return sorted(numbers)


def delete(numbers: Sequence[int], store: str | None = None) -> int:
    """Delete trials from a store; returns how many."""
    with Store(store or default_url()) as ledger:
        return ledger.delete(numbers)


def merge(other: str, store: str | None = None) -> Merged:
    """Copy from another store what this one lacks; done again it changes nothing."""
    with Store(other, read_only=True) as source, Store(store or default_url()) as ledger:
        return ledger.merge(source)
