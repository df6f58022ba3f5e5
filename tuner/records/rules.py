"""The rules by which a config may win."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search_space.budget import Budget
from search_space.config import Config, completed
from tuner.records.objective import LATENCY, Objective

FINALISTS = 4
"""More cost a trial in each round; the search tells apart what is further behind."""

REACH = 1.15
"""A finalist's value is at most this many times the best one's: a search's trial of three calls
beside the incumbent's is off by up to that much on a busy host."""


@dataclass(frozen=True)
class Rules:
    """The rules by which a config may win: limits, objective, and the choices that pins leave."""

    budget: Budget
    objective: Objective = LATENCY
    choices: Mapping[str, Sequence[str]] | None = None

    def admits(self, config: Config) -> bool:
        """Whether the pins leave the config; without choices there are no pins."""
        if self.choices is None:
            return True
        choice_of = completed(config)
        return all(choice_of.get(name) in values for name, values in self.choices.items())
