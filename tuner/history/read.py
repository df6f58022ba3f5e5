"""The trials that are kept, for the commands that only read."""

from __future__ import annotations

from collections.abc import Callable

from storage import Store, StoredTrial, default_url


def history(store: str | None) -> Store:
    """The store, opened for reading; raises UsageError where there is none."""
    return Store(store or default_url(), read_only=True)


def of_model(
    model: str | None, store: str | None, say: Callable[[str], object]
) -> list[StoredTrial]:
    """The trials of a model, or all; where a model has none it says which models have some."""
    ledger = history(store)
    found = ledger.trials(model)
    if model is not None and not found:
        known = ", ".join(sorted({stored.workload.model for stored in ledger.trials()}))
        say(f"no trials of {model!r}; there are some of: {known or 'none'}")
    return found
