"""What each change of a winner brings: the winner without it, raced against the winner."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from search_space.config import Config
from search_space.space import Space
from tuner.race.additive_model import Interval
from tuner.race.race import Standing
from tuner.records.figures import among


@dataclass(frozen=True)
class Change:
    """What one change of the winner brings: the value without it over the value with it."""

    knob: str
    choice: str
    gain: Interval | None
    kept: bool
    note: str = ""
    disturbed: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The stable form; unknown values are None."""
        return {
            "knob": self.knob,
            "choice": self.choice,
            "speedup": self.gain.ratio if self.gain else None,
            "low": self.gain.low if self.gain else None,
            "high": self.gain.high if self.gain else None,
            "kept": self.kept,
            "note": self.note or None,
            "disturbed": self.disturbed,
        }


def reversions(winner: Config, space: Space) -> tuple[dict[str, Config], dict[str, Change]]:
    """The winner without each of its changes, and the changes that cannot be reverted alone."""
    without: dict[str, Config] = {}
    irreversible: dict[str, Change] = {}
    for knob, choice in winner.items():
        rest = winner.without(knob)
        if knob in space.fix:
            irreversible[knob] = Change(knob, choice, None, True, "it is fixed")
        elif not space.holds(rest):
            reason = space.clash(rest) or "the space does not hold the rest"
            irreversible[knob] = Change(knob, choice, None, True, reason)
        else:
            without[knob] = rest
    return without, irreversible


def change_of(standing: Standing, winner: Config, knob: str, without: Config) -> Change:
    """Whether a change is worth keeping: without it the config is worse or may not win."""
    choice = winner[knob]
    if not {without, winner} <= set(standing.eligible):
        return Change(knob, choice, None, True, "without it the config does not do")
    gain = standing.value_ratio(without, winner)
    pair = [trial for trial in standing.trials if trial.config in (without, winner)]
    disturbed = among([trial.outcome.disturbed for trial in pair], "trials")
    return Change(knob, choice, gain, gain.low > 1, disturbed=disturbed)


def only_change(standing: Standing, winner: Config, space: Space) -> dict[str, Change]:
    """Of a winner with one change: what it brings. The race itself has reverted it."""
    if len(winner) != 1:
        return {}
    without, changes = reversions(winner, space)
    for knob, rest in without.items():
        changes[knob] = replace(change_of(standing, winner, knob, rest), kept=True)
    return changes


def simpler(winner: Config, changes: dict[str, Change], space: Space) -> list[Config]:
    """The winner without all idle changes, and without the least of them."""
    idle = [change for change in changes.values() if not change.kept]
    if not idle:
        return []
    least = min(idle, key=lambda change: change.gain.ratio if change.gain else 1.0)
    rests = [winner.without(*(change.knob for change in idle)), winner.without(least.knob)]
    return [rest for rest in rests if rest and space.holds(rest)]
