"""The trials of earlier runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from search_space.errors import TuneError
from search_space.trial import Trial, check_whole
from storage import Store, StoredTrial, default_url
from storage.summary import Filter, Order, Row, studies, summaries
from tuner.history.filters import filter_of, order_of
from tuner.records.trial_record import TrialRecord, record_of

if TYPE_CHECKING:
    import pandas

    from tuner.history.compare import Pair
    from tuner.history.winners import Winner
    from tuner.records.rules import Rules


@dataclass(frozen=True)
class Selection:
    """Trials for which some filters hold, in some order; read when they are asked for."""

    store: Store
    filters: tuple[Filter, ...] = ()
    order: tuple[Order, ...] = ()
    most: int | None = None

    def where(
        self, field: str | None = None, operator: str = "=", value: Any = None, /, **equal: Any
    ) -> Selection:
        """Those for which this holds too: ``where("latency_s", "<", 2)``, ``where(model="x")``."""
        named = [] if field is None else [filter_of(field, operator, value)]
        named += [filter_of(name, "=", each) for name, each in equal.items()]
        return replace(self, filters=(*self.filters, *named))

    def sort(self, *fields: str) -> Selection:
        """Sorted: ``sort("latency_s")``, ``sort("-speedup")``; what is unknown comes last."""
        return replace(self, order=tuple(map(order_of, fields)))

    def limit(self, most: int) -> Selection:
        """At most so many: the first, or the newest where they are not sorted."""
        return replace(self, most=most)

    @cached_property
    def records(self) -> tuple[TrialRecord, ...]:
        """The trials, read once."""
        rows = self.store.read(
            lambda connection: summaries(connection, self.filters, self.order, self.most)
        )
        return tuple(map(record_of, rows))

    def __iter__(self) -> Iterator[TrialRecord]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> TrialRecord:
        return self.records[index]

    def best(self) -> TrialRecord | None:
        """The fastest that was measured within its limits; None where there is none."""
        fastest = replace(self, order=(Order("latency_s"),), most=1)
        measured = fastest.where("state", "=", "measured").where("latency_s", "!=", None)
        return next(iter(measured), None)

    def pareto(self) -> list[TrialRecord]:
        """Those of which none is both faster and smaller, for each workload and machine."""
        return front(self.records)

    def to_pandas(self) -> pandas.DataFrame:
        """The trials as a table of pandas; raises TuneError without pandas."""
        try:
            import pandas
        except ImportError as error:
            raise TuneError("pandas is not installed: pip install pandas") from error
        from storage.summary import COLUMNS

        table = pandas.DataFrame([record.values() for record in self], columns=list(COLUMNS))
        return table.set_index("number", drop=False)


class History:
    """The trials of earlier runs, read from a store that is never written to.

    ``store`` is a file or SQLAlchemy's URL; without one it is the default store. Raises UsageError
    where there is none.
    """

    def __init__(self, store: str | None = None) -> None:
        self._store = Store(store or default_url(), read_only=True)

    @property
    def place(self) -> str:
        """The store's file or URL, without a password."""
        return self._store.place

    @property
    def records(self) -> Selection:
        """Every trial as one row, to be filtered and sorted."""
        return Selection(self._store)

    def where(
        self, field: str | None = None, operator: str = "=", value: Any = None, /, **equal: Any
    ) -> Selection:
        """The trials for which this holds, as one row each: see ``Selection.where``."""
        return self.records.where(field, operator, value, **equal)

    def sort(self, *fields: str) -> Selection:
        """Every trial as one row, sorted."""
        return self.records.sort(*fields)

    def pareto(self) -> list[TrialRecord]:
        """Of each workload and machine the trials of which none is both faster and smaller."""
        return self.records.pareto()

    def to_pandas(self) -> pandas.DataFrame:
        """Every trial as a table of pandas."""
        return self.records.to_pandas()

    def trials(self, model: str | None = None) -> list[StoredTrial]:
        """Every trial with all its readings, or those of one model, in the order they ran in."""
        return [whole(stored) for stored in self._store.trials(model)]

    def trial(self, number: int) -> StoredTrial:
        """One trial with all its readings; raises UsageError where there is none."""
        return whole(self._store.trial(number))

    def same_workload(self, stored: StoredTrial) -> list[Trial]:
        """Every trial of the same machine, versions and workload, whatever it was run for."""
        trials = self._store.of_workload(stored.machine, stored.workload)
        return [check_whole(trial) for trial in trials]

    def studies(self, filters: Sequence[Filter] = ()) -> list[Row]:
        """Each study with what its trials come to."""
        return self._store.read(lambda connection: studies(connection, filters))

    def best(self, model: str | None = None) -> list[Winner]:
        """The winner of each study, or of those of one model."""
        from tuner.history.winners import winners_of

        filters = () if model is None else (Filter("model", "=", model),)
        return winners_of(self._store, filters)

    def choose(self, rules: Rules, model: str | None = None) -> list[Winner]:
        """The best of what was measured by other rules than those of a run."""
        from tuner.history.winners import chosen_again

        filters = () if model is None else (Filter("model", "=", model),)
        return chosen_again(self._store, rules, filters)

    def compare(self, first: int, second: int) -> Pair:
        """Two trials beside each other; raises UsageError where there is no such trial."""
        from tuner.history.compare import compared

        one, other = self.trial(first), self.trial(second)
        return compared(one, other, self._store)

    def models(self) -> list[str]:
        """The models that have trials."""
        return sorted({str(row["model"]) for row in self.studies()})

    def explain_nothing(self, model: str | None, say: Callable[[str], object]) -> None:
        """Where a model has no trials, say which models have some."""
        models = self.models() if model is not None else []
        if model is not None and model not in models:
            say(f"no trials of {model!r}; there are some of: {', '.join(models) or 'none'}")


def whole(stored: StoredTrial) -> StoredTrial:
    """The trial, if it has what it must; raises StoreError otherwise."""
    check_whole(stored.trial)
    return stored


def front(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trials of the search of which none of their group is both faster and smaller."""
    groups: dict[tuple[int, int, int], dict[object, TrialRecord]] = {}
    for record in sorted(records, key=lambda record: record.number):
        # Of a config that ran again, the last time counts; races measure otherwise.
        if record.purpose in ("baseline", "search"):
            groups.setdefault(record.group, {})[record.config] = record
    return [record for group in groups.values() for record in _fastest(list(group.values()))]


def _fastest(records: list[TrialRecord]) -> list[TrialRecord]:
    chosen: list[TrialRecord] = []
    known = [
        (record.latency_s, record.peak_bytes, record)
        for record in records
        if record.is_measured and record.latency_s is not None and record.peak_bytes is not None
    ]
    smallest = None
    for _, peak_bytes, record in sorted(known, key=lambda each: each[:2]):
        if smallest is None or peak_bytes < smallest:
            chosen.append(record)
            smallest = peak_bytes
    return chosen
