"""Down the chain from the best match to the default of diffusers, with a reason at each step."""

from __future__ import annotations

import gc
import logging
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.loading.match import Level, Match

LOG = logging.getLogger("tuner")

LONGEST = 200
"""Letters of an error that a line repeats."""


@dataclass(frozen=True)
class Skipped:
    """A stored config that was not taken, and why."""

    source: str
    reason: str


@dataclass(frozen=True)
class Taken:
    """What the chain ended with: the pipeline, its match (None for the default), what it passed."""

    pipe: Any
    match: Match | None
    skipped: tuple[Skipped, ...]


def descend(
    matches: Sequence[Match],
    unavailable: Callable[[Match], str | None],
    build: Callable[[Match], Any],
    default: Callable[[], Any],
    passed: Sequence[Skipped] = (),
) -> Taken:
    """The pipeline of the first match that can be had, or the default; each step is logged.

    ``passed`` are those that could not even be compared. Raises what the default raises.
    """
    skipped = list(passed)
    for skip in passed:
        LOG.info("%s: not taken: %s", skip.source, skip.reason)
    for position, match in enumerate(matches):
        pipe, reason = _tried(match, unavailable, build)
        source = match.candidate.source
        if reason is None:
            LOG.info("%s: taken, %s", source, sentence(match))
            rest = [
                Skipped(each.candidate.source, sentence(each)) for each in matches[position + 1 :]
            ]
            return Taken(pipe, match, (*skipped, *rest))
        skipped.append(Skipped(source, reason))
        LOG.info("%s: not taken: %s", source, reason)
        # What was half built would stand in the way of the next.
        gc.collect()
    LOG.info("%s is taken: no stored config can be had here", Level.DEFAULT.words)
    return Taken(default(), None, tuple(skipped))


def sentence(match: Match) -> str:
    """The level of a match, and what differs."""
    return f"{match.level.words}: {match.why}" if match.why else match.level.words


def _tried(
    match: Match, unavailable: Callable[[Match], str | None], build: Callable[[Match], Any]
) -> tuple[Any, str | None]:
    if match.missing is not None:
        return None, match.missing
    try:
        # Of a model that this project cannot read diffusers may still make its default.
        if match.level is Level.AVAILABLE and (reason := unavailable(match)):
            return None, reason
        return build(match), None
    except Exception as error:
        message = textwrap.shorten(str(error), LONGEST, placeholder=" ...")
        return None, f"it cannot be built ({type(error).__name__}: {message})"
