"""A trial in one line, as a run shows it."""

from __future__ import annotations

from search_space.budget import Budget
from search_space.config import Config
from search_space.trial import Trial
from search_space.units import format_duration
from tuner.records.figures import figures
from tuner.report.format import seconds, size, times

NARROWEST = 80
"""Lines fit a terminal of this many columns, and use more where there are more."""

FIGURES = "{speedup:>6} {latency:>8} {memory:>10} {took:>7}"
"""Behind the config: ``12.34x``, ``12m 08s``, ``139.81 GiB`` and ``10m 48s`` fit."""

PLACE_WIDTH = 7
"""The column of ``100/200``, ``race 5`` and ``drift``."""


UNTELLING = ("on", "off", "auto", "max", "none")
"""Choices of several knobs, which say nothing without the knob's name."""


def heading(width: int = NARROWEST) -> str:
    named = FIGURES.format(speedup="speed", latency="latency", memory="memory", took="took")
    return f"{'trial':<{PLACE_WIDTH}} {'config':<{_config_width(width)}} {named}"


def trial_line(
    place: str,
    trial: Trial,
    budget: Budget,
    speedup: float | None,
    width: int = NARROWEST,
) -> str:
    """One line of at most ``width`` columns: the config, then figures or how it failed."""
    columns = _config_width(width)
    beginning = f"{place:<{PLACE_WIDTH}} {shortened(trial.config, columns):<{columns}}"
    failure = trial.judged(budget)
    if failure is not None:
        kind = failure.kind.value.replace("_", " ")
        return f"{beginning} {kind}, {format_duration(trial.cost_s)}"
    trial_figures = figures(trial)
    cells = FIGURES.format(
        speedup=times(speedup),
        latency=seconds(trial_figures["latency_s"]),
        memory=size(trial_figures["peak_bytes"]),
        took=seconds(trial.cost_s),
    )
    return f"{beginning} {cells}"


def shortened(config: Config, width: int) -> str:
    """The config in at most ``width`` columns: as many changes as fit, and how many more."""
    text = config.describe()
    if len(text) <= width or not config:
        return text
    changes = [_short(knob, choice) for knob, choice in config.items()]
    if len(shorter := ", ".join(changes)) <= width:
        return shorter
    for count in range(len(changes) - 1, 0, -1):
        shorter = f"{', '.join(changes[:count])} +{len(changes) - count}"
        if len(shorter) <= width:
            return shorter
    more = f" +{len(changes) - 1}" if len(changes) > 1 else ""
    return changes[0] + more


def _short(knob: str, choice: str) -> str:
    """The choice alone where it tells its knob: ``bf16``, but ``vae_tiling=on``."""
    return f"{knob}={choice}" if choice in UNTELLING else choice


def _config_width(width: int) -> int:
    figures_width = len(FIGURES.format(speedup="", latency="", memory="", took=""))
    return max(width, NARROWEST) - PLACE_WIDTH - figures_width - 2
