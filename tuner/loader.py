"""Load what was tuned into an application."""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from search_space.build import Build
from search_space.config import BASELINE
from search_space.construct import construct
from search_space.errors import UsageError
from search_space.pipeline.spec import read_spec
from search_space.units import parse_size
from tuner.loading.candidates import Candidates, in_folders, in_history
from tuner.loading.chain import Skipped, descend
from tuner.loading.coverage import Coverage
from tuner.loading.here import Choices, devices
from tuner.loading.match import Here, Level, Match, Wish, ordered
from tuner.loading.tuned_pipeline import Tuned, attach
from tuner.records.figures import Figures
from tuner.records.request import default_cache_dir
from tuner.records.tuned import TunedConfig

if TYPE_CHECKING:
    from tuner.history.read import History

LOG = logging.getLogger("tuner")

OnMismatch = Literal["warn", "raise", "ignore"]

MISMATCHES = ("warn", "raise", "ignore")


def load(
    source: str | Path,
    *,
    height: int | None = None,
    width: int | None = None,
    memory: int | str | None = None,
    model: str | None = None,
    device: str | None = None,
    cache_dir: str | Path | None = None,
    on_mismatch: OnMismatch = "warn",
    history: History | str | Path | bool | None = None,
    allow_pickle: bool = False,
) -> Any:
    """The pipeline of the stored config that suits this machine best, ready to be called.

    ``source`` is the folder of a run, a root with several, or with ``history`` a model: the store,
    True for the default one. ``height`` and ``width`` in pixels and ``memory`` (bytes, or
    ``"6GiB"``) choose among several. ``model``, ``device`` and ``cache_dir`` replace what the run
    used. Weights that are pickles, which can hold code, are read with ``allow_pickle`` alone.

    Where nothing matches exactly it goes on to the next best, at last to the default of diffusers;
    the logger ``tuner`` says why, and so does ``pipe.tuned``. ``on_mismatch`` makes that a warning,
    a UsageError or neither. Raises UsageError where the folder or the model is not there, and what
    diffusers raises.
    """
    if on_mismatch not in MISMATCHES:
        raise UsageError(f"on_mismatch={on_mismatch!r} is none of {', '.join(MISMATCHES)}")
    for name, value in (("height", height), ("width", width)):
        if value is not None and value < 1:
            raise UsageError(f"{name}={value} is no size: give pixels, such as {name}=512")
    wish = Wish(height, width, parse_size(memory) if isinstance(memory, str) else memory)
    cache = None if cache_dir is None else Path(cache_dir).expanduser()
    setting = Setting(wish, model, cache, allow_pickle)
    candidates, passed = setting.candidates(source, history)
    here = devices({each.tuned.machine.device for each in candidates}, device)
    matches = ordered(candidates, here, wish, device)
    best = matches[0]
    if on_mismatch == "raise":
        if not best.is_exact:
            raise UsageError(f"{_words(best)}: run 'tune run' here, or say on_mismatch='warn'")
        return setting.finished(setting.built(best), best, here, passed)
    choices = Choices(best.candidate.tuned.folder, cache or default_cache_dir(), allow_pickle)

    def unavailable(match: Match) -> str | None:
        tuned, machine = match.candidate.tuned, here[match.device].machine
        return choices.unavailable(tuned.config, machine, wish.of(tuned.workload))

    default = _default(best, next(iter(here)) if device is None else device)
    taken = descend(matches, unavailable, setting.built, lambda: setting.built(default), passed)
    match = taken.match or default
    if on_mismatch == "warn" and not match.is_exact:
        warnings.warn(
            f"{_words(match, taken.skipped)}: run 'tune run' here to be sure", stacklevel=2
        )
    return setting.finished(taken.pipe, match, here, taken.skipped)


def _default(best: Match, device: str) -> Match:
    tuned = replace(best.candidate.tuned, config=BASELINE, tuned={})
    candidate = replace(best.candidate, source=Level.DEFAULT.words, tuned=tuned)
    return Match(candidate, device, Level.DEFAULT)


def _words(match: Match, skipped: tuple[Skipped, ...] = ()) -> str:
    if match.level is Level.DEFAULT:
        reason = skipped[0].reason if skipped else "nothing is stored"
        return f"this is {Level.DEFAULT.words}, as {reason}"
    return f"{match.candidate.source}: {match.level.words}: {match.why}"


@dataclass(frozen=True)
class Setting:
    """What the application gave ``load``."""

    wish: Wish
    model: str | None
    cache_dir: Path | None
    allow_pickle: bool

    def candidates(
        self, source: str | Path, history: History | str | Path | bool | None
    ) -> Candidates:
        """The stored configs; raises UsageError where there is none."""
        if history is None or history is False:
            return in_folders(Path(source), self._with_files)
        from tuner import precedence

        precedence.claim("storage")
        from tuner.discovery.models import resolve
        from tuner.history.read import History

        cache_dir = self.cache_dir or default_cache_dir()
        if isinstance(history, (str, Path)):
            opened = History(str(history))
        else:
            opened = History() if history is True else history
        folder = str(resolve(self.model or str(source), cache_dir, self.allow_pickle))
        found = in_history(opened, str(source), folder, str(cache_dir), self.allow_pickle)
        if not found[0]:
            raise UsageError(f"the store has no trials of {str(source)!r}: run 'tune run {source}'")
        return found

    def _with_files(self, tuned: TunedConfig) -> TunedConfig:
        """The tuned config with its model's folder; raises UsageError where that is not there."""
        files = self.model or tuned.folder
        # Unlike pathlib's, of a name that no file can have this says that there is none.
        if self.model is None and not os.path.isfile(os.path.join(files, "model_index.json")):
            raise UsageError(f"the model is no longer at {files}: say load(..., model=...)")
        if tuned.pickled and not self.allow_pickle:
            raise UsageError(
                f"the weights at {files} are pickles, which can hold code: "
                "say load(..., allow_pickle=True) where you trust them"
            )
        return replace(tuned, folder=files)

    def built(self, match: Match) -> Any:
        """The pipeline of a match; raises what diffusers and the knobs raise."""
        tuned = match.candidate.tuned
        # Graphs of another machine are not here.
        own_cache = tuned.cache_dir if match.level < Level.OTHER_MACHINE else default_cache_dir()
        build = Build(
            tuned.folder,
            match.device,
            self.wish.of(tuned.workload).call(),
            Path(self.cache_dir or own_cache),
            pickled=tuned.pickled,
        )
        return construct(build, tuned.config)

    def finished(
        self, pipe: Any, match: Match, here: dict[str, Here], skipped: tuple[Skipped, ...]
    ) -> Any:
        """The pipeline with its record."""
        tuned, workload = match.candidate.tuned, self.wish.of(match.candidate.tuned.workload)
        coverage = Coverage.of(tuned.config, workload)
        defaults = {}
        # Of a model that lies on the Hub alone no file is read for this.
        if coverage.has_limits and os.path.isdir(tuned.folder):
            defaults = dict(read_spec(Path(tuned.folder), self.allow_pickle).defaults)
            coverage = Coverage.of(tuned.config, workload, defaults)
        return attach(
            pipe,
            Tuned(
                tuned.config,
                Figures.of(tuned.config, tuned.tuned) if tuned.tuned else None,
                match.level,
                match.why,
                match.candidate.source,
                skipped,
                workload,
                match.device,
                tuned.machine.device_name,
                coverage,
                defaults,
            ),
        )
