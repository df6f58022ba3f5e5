"""Where stored configs are: in tuned folders, and in the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from search_space.config import steps
from search_space.errors import UsageError
from tuner.loading.chain import Skipped
from tuner.loading.match import Candidate
from tuner.records.figures import figures
from tuner.records.tuned import CONFIG, UNFINISHED, TunedConfig, config_in

if TYPE_CHECKING:
    from storage import StoredTrial
    from tuner.history.read import History
    from tuner.history.winners import Winner

Candidates = tuple[tuple[Candidate, ...], tuple[Skipped, ...]]
"""Those that can be compared, and those that cannot, with the reason."""


def tuned_folders(root: Path) -> tuple[Path, ...]:
    """The folder itself, or those below it, that a run has written."""
    if config_in(root).exists() or not root.is_dir():
        return (root,)
    paths = (path.parent for path in root.rglob(CONFIG))
    return tuple(sorted(path for path in paths if is_tuned(path)))


def is_tuned(folder: Path) -> bool:
    """Whether a folder with a ``config.json`` is a run's: each model in a pipeline has one, too."""
    return (
        not folder.name.startswith(UNFINISHED)
        and not (folder.parent / "model_index.json").is_file()
    )


def usable(sources: list[tuple[str, Callable[[], TunedConfig]]]) -> Candidates:
    """What can be read and names choices that there are; raises the first UsageError if none."""
    candidates, skipped = [], []
    first: UsageError | None = None
    for source, read in sources:
        try:
            tuned = read()
            steps(tuned.config)
        except UsageError as error:
            first = first or error
            skipped.append(Skipped(source, str(error)))
        else:
            candidates.append(Candidate(source, tuned))
    if first is not None and not candidates:
        raise first
    return tuple(candidates), tuple(skipped)


def in_folders(root: Path, check: Callable[[TunedConfig], TunedConfig]) -> Candidates:
    """The tuned folders at or below a root; raises UsageError where there is none.

    ``check`` gives the tuned config with the files of its model, or raises UsageError.
    """
    folders = tuned_folders(root)
    if not folders:
        raise UsageError(
            f"{root} holds no tuned config: give the folder of a run, or a model with history=True"
        )

    def reading(folder: Path) -> Callable[[], TunedConfig]:
        return lambda: check(TunedConfig.read(folder))

    return usable([(str(folder), reading(folder)) for folder in folders])


def in_history(
    history: History, model: str, folder: str, cache_dir: str, pickled: bool
) -> Candidates:
    """What the store holds of a model: the winner of each study first, then all else that ran.

    What did not win is there for machines on which the winner is not available.
    """
    facts = {"folder": folder, "cache_dir": cache_dir, "pickled": pickled}
    won = history.best(model)
    chosen = {winner.stored.trial.number for winner in won}
    winners = [Candidate(_source(winner.stored), _of_winner(winner, facts)) for winner in won]
    return (*winners, *_others(history.trials(model), chosen, facts)), ()


def _of_winner(winner: Winner, facts: dict[str, Any]) -> TunedConfig:
    tuned = _tuned(winner.stored, winner.figures, winner.budget.memory_bytes, facts)
    speedup = winner.speedup
    return tuned if speedup is None else replace(tuned, speedup=speedup.ratio)


def _others(trials: list[StoredTrial], chosen: set[int], facts: dict[str, Any]) -> list[Candidate]:
    groups: dict[tuple[str, str, str], list[StoredTrial]] = {}
    for stored in trials:
        machine = stored.machine
        identity = (machine.fingerprint, machine.software_fingerprint, stored.workload.fingerprint)
        groups.setdefault(identity, []).append(stored)
    candidates = []
    for group in groups.values():
        measured = [stored for stored in group if stored.trial.measurement is not None]
        baselines = [_latency_s(stored) for stored in measured if stored.trial.config.is_baseline]
        seen = {stored.trial.config for stored in measured if stored.trial.number in chosen}
        for stored in measured:
            config = stored.trial.config
            feasible = stored.trial.judged(stored.trial.budget) is None
            if config.is_baseline or config in seen or not baselines or not feasible:
                continue
            seen.add(config)
            tuned = _tuned(stored, figures(stored.trial), None, facts)
            # Of two trials, not of a race: it orders them, and is no claim.
            ratio = median(baselines) / _latency_s(stored)
            candidates.append(Candidate(_source(stored), replace(tuned, speedup=ratio), won=False))
    return candidates


def _latency_s(stored: StoredTrial) -> float:
    assert stored.trial.measurement is not None
    return stored.trial.measurement.latency_s


def _source(stored: StoredTrial) -> str:
    return f"trial {stored.trial.number} of the store"


def _tuned(
    stored: StoredTrial, measured: dict[str, Any], memory_bytes: int | None, facts: dict[str, Any]
) -> TunedConfig:
    return TunedConfig(
        config=stored.trial.config,
        workload=stored.workload,
        machine=stored.machine,
        tuned=measured,
        baseline=None,
        memory_bytes=memory_bytes,
        created_at=stored.trial.started_at,
        **facts,
    )
