"""Knobs and choices, in short, in full and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Group, RenderableType

from search_space.catalog import all_knobs, check_known
from search_space.knob import Choice, Knob, Tier, nothing, untouched
from search_space.space import Space
from tuner.report.format import counted
from tuner.report.listing import GLUE, READABLE, Listing, Paragraph, Row, apart, titled


def knobs_json(space: Space) -> list[dict[str, Any]]:
    """The stable form of the knobs: each with its choices, available or with the reason."""
    machine = space.context.machine
    return [
        {
            "name": knob.name,
            "doc": knob.doc,
            "choices": [
                {
                    "value": choice.value,
                    "available": space.reason(knob, choice.value) is None,
                    "reason": space.reason(knob, choice.value),
                    "note": choice.note(space.context),
                    "tier": choice.tier.value,
                    "verified": choice.verified(machine),
                }
                for choice in knob.choices
            ],
        }
        for knob in space.knobs
    ]


def knobs_text(space: Space) -> Group:
    """What can be chosen here, a line a knob; then why the rest cannot, a line a reason."""
    available = [
        (knob.name, [one for one in knob.choices if space.reason(knob, one.value) is None])
        for knob in space.knobs
    ]
    rows = [
        Row((name,), ", ".join(_with_marks(one, space) for one in choices))
        for name, choices in available
        if len(choices) > 1
    ]
    alone = [name for name, choices in available if len(choices) == 1]
    parts: list[RenderableType] = [titled("Can be chosen here", Listing(tuple(rows)))]
    if alone:
        parts.append(titled("Nothing to choose here", Paragraph(", ".join(alone))))
    notes: dict[str, list[str]] = {}
    for name, choices in available:
        for choice in choices:
            if note := choice.note(space.context):
                notes.setdefault(note, []).append(f"{name}={choice.value}")
    if notes:
        told = tuple(Row((note,), ", ".join(named)) for note, named in notes.items())
        parts.append(titled("On this machine", Listing(told)))
    refused = list(_refused(space))
    if refused:
        what = counted(len(refused), "choice")
        table = Listing(
            _by_reason(refused), columns=("choices", "of", "why not"), right=("choices",)
        )
        parts.append(titled(f"Not available here: {what} (--all lists them)", table))
    return apart(parts)


def all_choices(space: Space) -> Group:
    """Every choice of every knob: available here, or why not."""
    return apart(
        titled(knob.name, Listing(tuple(_row(space, knob, choice) for choice in knob.choices)))
        for knob in space.knobs
    )


def one_knob(space: Space, knob: Knob) -> Group:
    """All that is declared of one knob."""
    rows = []
    above = knob.doc
    for choice in knob.choices:
        own = _does(choice)
        told = (own,) if own not in ("", above, knob.doc) else ()
        above = own
        declared = tuple(_declared(space, knob, choice))
        rows.append(replace(_row(space, knob, choice), remarks=told + declared))
    doc = Paragraph(knob.doc.replace("``", "`"))
    columns = ("choice", "quality", "available", "why not")
    return apart([titled(knob.name, doc), Listing(tuple(rows), columns)])


def _with_marks(choice: Choice, space: Space) -> str:
    marks = [] if choice.tier is Tier.EXACT else [choice.tier.value]
    if not choice.verified(space.context.machine):
        marks.append(f"unverified on {space.context.machine.device}")
    told = f"{choice.value} ({', '.join(marks)})" if marks else choice.value
    return told if len(told) > READABLE else told.replace(" ", GLUE)


def _row(space: Space, knob: Knob, choice: Choice) -> Row:
    reason = space.reason(knob, choice.value)
    machine, note = space.context.machine, choice.note(space.context)
    verified = "yes" if choice.verified(machine) else f"yes, unverified on {machine.device}"
    return Row(
        (choice.value, choice.tier.value, "no" if reason else verified), reason or note or ""
    )


@dataclass(frozen=True)
class Refusal:
    """A choice that is not available: of which knob, why not, and what all such choices lack."""

    knob: str
    reason: str
    lacking: str


def _refused(space: Space) -> Iterator[Refusal]:
    for knob in space.knobs:
        for choice in knob.choices:
            if reason := space.reason(knob, choice.value):
                unmet = choice.need.unmet(space.context)
                yield Refusal(knob.name, reason, unmet.what if unmet else reason)


def _by_reason(refused: Iterable[Refusal]) -> tuple[Row, ...]:
    """A row a reason, the most frequent first: how many choices, of which knobs, and why not."""
    alike: dict[str, list[Refusal]] = {}
    for one in refused:
        alike.setdefault(one.lacking, []).append(one)
    knobs: dict[str, list[str]] = {}
    for lacking, group in alike.items():
        reasons = {one.reason for one in group}
        why = reasons.pop() if len(reasons) == 1 else f"they need {lacking}"
        knobs.setdefault(why, []).extend(one.knob for one in group)
    found = sorted(knobs.items(), key=lambda reason: -len(reason[1]))
    return tuple(Row((str(len(names)), _named(set(names))), why) for why, names in found)


def _named(knobs: set[str]) -> str:
    return next(iter(knobs)) if len(knobs) == 1 else counted(len(knobs), "knob")


def _does(choice: Choice) -> str:
    """What the choice does, in one line; empty for what leaves all as it is."""
    return "" if choice.apply is untouched else " ".join((choice.apply.__doc__ or "").split())


def _declared(space: Space, knob: Knob, choice: Choice) -> Iterator[str]:
    """What the choice needs, and what it does not go with here."""
    if choice.need is not nothing:
        yield choice.need.sentence
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for mine, (theirs, value), how, reason in _conflicts(space):
        if mine == (knob.name, choice.value):
            found.setdefault((how, reason), {}).setdefault(theirs, []).append(value)
    for (how, reason), others in found.items():
        yield f"{how} {'; '.join(_families(*other) for other in others.items())}: {reason}"


Named = tuple[str, str]
"""A knob and a choice."""


def _conflicts(space: Space) -> Iterator[tuple[Named, Named, str, str]]:
    """Two choices, whether they go together or not, and the reason: told of both sides."""
    for knob in all_knobs():
        for choice in knob.choices:
            mine = (knob.name, choice.value)
            for conflict in choice.conflicts:
                if conflict.choices and choice.value not in conflict.choices:
                    continue
                if conflict.where(space.context) is not None:
                    continue
                for value in conflict.only:
                    yield mine, (conflict.knob, value), "only with", conflict.reason
                for value in conflict.others:
                    yield mine, (conflict.knob, value), "not with", conflict.reason
                    yield (conflict.knob, value), mine, "not with", conflict.reason


def _families(name: str, values: list[str]) -> str:
    """``engine=eager, openvino*``: a star where all choices that begin so are meant."""
    known = check_known(name).values
    told: dict[str, None] = {}
    for value in values:
        head = value.partition("-")[0]
        family = [one for one in known if one.partition("-")[0] == head]
        whole = len(family) > 1 and set(family) <= set(values)
        told[f"{head}*" if whole else value] = None
    return f"{name}={', '.join(told)}"
