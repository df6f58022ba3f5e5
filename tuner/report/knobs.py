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
        (knob.name, [choice for choice in knob.choices if space.reason(knob, choice.value) is None])
        for knob in space.knobs
    ]
    rows = [
        Row((name,), ", ".join(_with_marks(choice, space) for choice in choices))
        for name, choices in available
        if len(choices) > 1
    ]
    fixed_knobs = [name for name, choices in available if len(choices) == 1]
    parts: list[RenderableType] = [titled("Can be chosen here", Listing(tuple(rows)))]
    if fixed_knobs:
        parts.append(titled("Nothing to choose here", Paragraph(", ".join(fixed_knobs))))
    notes: dict[str, list[str]] = {}
    for name, choices in available:
        for choice in choices:
            if note := choice.note(space.context):
                notes.setdefault(note, []).append(f"{name}={choice.value}")
    if notes:
        note_rows = tuple(Row((note,), ", ".join(named)) for note, named in notes.items())
        parts.append(titled("On this machine", Listing(note_rows)))
    refusals = list(_refusals(space))
    if refusals:
        count = counted(len(refusals), "choice")
        table = Listing(
            _by_reason(refusals), columns=("choices", "of", "why not"), right=("choices",)
        )
        parts.append(titled(f"Not available here: {count} (--all lists them)", table))
    return apart(parts)


def all_choices(space: Space) -> Group:
    """Every choice of every knob: available here, or why not."""
    return apart(
        titled(knob.name, Listing(tuple(_row(space, knob, choice) for choice in knob.choices)))
        for knob in space.knobs
    )


def one_knob(space: Space, knob: Knob) -> Group:
    """The whole declaration of one knob."""
    rows = []
    previous = knob.doc
    for choice in knob.choices:
        sentence = _does(choice)
        sentences = (sentence,) if sentence not in ("", previous, knob.doc) else ()
        previous = sentence
        declared = tuple(_declarations(space, knob, choice))
        rows.append(replace(_row(space, knob, choice), remarks=sentences + declared))
    doc = Paragraph(knob.doc.replace("``", "`"))
    columns = ("choice", "quality", "available", "why not")
    return apart([titled(knob.name, doc), Listing(tuple(rows), columns)])


def _with_marks(choice: Choice, space: Space) -> str:
    marks = [] if choice.tier is Tier.EXACT else [choice.tier.value]
    if not choice.verified(space.context.machine):
        marks.append(f"unverified on {space.context.machine.device}")
    text = f"{choice.value} ({', '.join(marks)})" if marks else choice.value
    return text if len(text) > READABLE else text.replace(" ", GLUE)


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


def _refusals(space: Space) -> Iterator[Refusal]:
    for knob in space.knobs:
        for choice in knob.choices:
            if reason := space.reason(knob, choice.value):
                unmet = choice.need.unmet(space.context)
                yield Refusal(knob.name, reason, unmet.what if unmet else reason)


def _by_reason(refusals: Iterable[Refusal]) -> tuple[Row, ...]:
    """A row a reason, the most frequent first: how many choices, of which knobs, and why not."""
    groups: dict[str, list[Refusal]] = {}
    for refusal in refusals:
        groups.setdefault(refusal.lacking, []).append(refusal)
    knobs: dict[str, list[str]] = {}
    for lacking, group in groups.items():
        reasons = {refusal.reason for refusal in group}
        why = reasons.pop() if len(reasons) == 1 else f"they need {lacking}"
        knobs.setdefault(why, []).extend(refusal.knob for refusal in group)
    by_frequency = sorted(knobs.items(), key=lambda reason: -len(reason[1]))
    return tuple(Row((str(len(names)), _named(set(names))), why) for why, names in by_frequency)


def _named(knobs: set[str]) -> str:
    return next(iter(knobs)) if len(knobs) == 1 else counted(len(knobs), "knob")


def _does(choice: Choice) -> str:
    return "" if choice.apply is untouched else " ".join((choice.apply.__doc__ or "").split())


def _declarations(space: Space, knob: Knob, choice: Choice) -> Iterator[str]:
    """What the choice needs, and what it does not go with here."""
    if choice.need is not nothing:
        yield choice.need.sentence
    conflicts: dict[tuple[str, str], dict[str, list[str]]] = {}
    for side, (other_knob, value), how, reason in _conflicts(space):
        if side == (knob.name, choice.value):
            conflicts.setdefault((how, reason), {}).setdefault(other_knob, []).append(value)
    for (how, reason), choices_by_knob in conflicts.items():
        yield f"{how} {'; '.join(_families(*item) for item in choices_by_knob.items())}: {reason}"


Named = tuple[str, str]
"""A knob and a choice."""


def _conflicts(space: Space) -> Iterator[tuple[Named, Named, str, str]]:
    """Two choices, whether they go together or not, and the reason: told of both sides."""
    for knob in all_knobs():
        for choice in knob.choices:
            side = (knob.name, choice.value)
            for conflict in choice.conflicts:
                if conflict.choices and choice.value not in conflict.choices:
                    continue
                if conflict.where(space.context) is not None:
                    continue
                for value in conflict.only:
                    yield side, (conflict.knob, value), "only with", conflict.reason
                for value in conflict.others:
                    yield side, (conflict.knob, value), "not with", conflict.reason
                    yield (conflict.knob, value), side, "not with", conflict.reason


def _families(name: str, values: list[str]) -> str:
    """``engine=eager, openvino*``: a star where all choices that begin so are meant."""
    choices = check_known(name).values
    names: dict[str, None] = {}
    for value in values:
        head = value.partition("-")[0]
        family = [choice for choice in choices if choice.partition("-")[0] == head]
        is_whole = len(family) > 1 and set(family) <= set(values)
        names[f"{head}*" if is_whole else value] = None
    return f"{name}={', '.join(names)}"
