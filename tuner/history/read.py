"""The trials of earlier runs."""

from __future__ import annotations

from collections.abc import Callable

from search_space.trial import Trial, check_whole
from storage import Store, StoredTrial, default_url
from tuner.history.winners import Winner, winners


class History:
    """The trials of earlier runs, read from a store that is never written to.

    ``store`` is a file or SQLAlchemy's URL; without one it is the default store. Raises UsageError
    where there is none.
    """

    def __init__(self, store: str | None = None) -> None:
        self._store = Store(store or default_url(), read_only=True)

    def trials(self, model: str | None = None) -> list[StoredTrial]:
        """Every trial, or those of one model, in the order in which they ran."""
        return [_whole(stored) for stored in self._store.trials(model)]

    def trial(self, number: int) -> StoredTrial:
        """One trial by its number; raises UsageError where there is none."""
        return _whole(self._store.trial(number))

    def same_workload(self, stored: StoredTrial) -> list[Trial]:
        """Every trial of the same machine, versions and workload, whatever it was run for."""
        trials = self._store.of_workload(stored.machine, stored.workload)
        return [check_whole(trial) for trial in trials]

    def best(self, model: str | None = None) -> list[Winner]:
        """The winner of each study, or of those of one model."""
        return winners(self.trials(model))


def _whole(stored: StoredTrial) -> StoredTrial:
    check_whole(stored.trial)
    return stored


def of_model(
    model: str | None, store: str | None, say: Callable[[str], object]
) -> list[StoredTrial]:
    """The trials of a model, or all; where a model has none it says which models have some."""
    history = History(store)
    trials = history.trials(model)
    if model is not None and not trials:
        models = ", ".join(sorted({stored.workload.model for stored in history.trials()}))
        say(f"no trials of {model!r}; there are some of: {models or 'none'}")
    return trials
