"""The generated parts of optimizations.md: a table of the knobs, and a part for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from generate import code, table
from patterns import patterns

from search_space.catalog import all_knobs, check_known
from search_space.hardware.detect import KINDS
from search_space.knob import Choice, Conflict, Knob, Stage, Tier, nothing
from search_space.knobs.attention import COMPILED, PYTORCH_ENGINES
from search_space.needs import listed

NAMED = {
    ("engine", PYTORCH_ENGINES): "an engine of PyTorch",
    ("engine", COMPILED): "an engine of inductor",
}
"""Lists of choices that many conflicts name; ``named_lists`` says what is in them."""

PROBE = "the probe "

Terms = tuple[str, str, tuple[str, ...]]
"""Of a choice its tier, where it has been run and what it needs, in words."""


def knob_table() -> str:
    """One row a knob."""
    rows = [
        (
            f"[{knob.name}](#{knob.name})",
            knob.doc.partition(". ")[0].rstrip(".") + ".",
            ", ".join(map(code, (knob.values[0], *patterns(knob.values[1:], knob.values)))),
            max((choice.tier for choice in knob.choices), key=list(Tier).index).value,
            devices(kind for choice in knob.choices[1:] for kind in choice.run_on or ()) or "-",
        )
        for knob in all_knobs()
    ]
    return table(("knob", "what it does", "choices, the default first", "quality", "run on"), rows)


def stages() -> str:
    """The stages in order."""
    return ", ".join(stage.name.lower().replace("_", " ") for stage in Stage) + "."


def named_lists() -> str:
    """What the names of lists of choices stand for."""
    return "\n".join(
        f"- *{name}*: {', '.join(map(code, values))}." for (_, values), name in NAMED.items()
    )


def knob_sections() -> str:
    """One part of the page a knob."""
    return "\n".join(line for knob in all_knobs() for line in knob_section(knob))


def knob_section(knob: Knob) -> Iterator[str]:
    """What the knob does, its choices by what applies them, and what they do not go with."""
    yield from (f"### {knob.name}", "", f"{prose(knob.doc)} Default: {code(knob.values[0])}.", "")
    for _, choices in groupby(knob.choices[1:], key=lambda choice: choice.apply):
        yield from family(knob, list(choices))
    if found := list(conflicts(knob)):
        yield from ("", "Conflicts:", "", *found)
    if namers := [other for other in all_knobs() if names(other, knob)]:
        links = listed(f"[{other.name}](#{other.name})" for other in namers)
        yield from ("", f"Further conflicts: see {links}.")
    yield ""


def family(knob: Knob, choices: Sequence[Choice]) -> Iterator[str]:
    """The choices that one function applies: what they share, then what sets some apart."""
    groups: dict[Terms, list[str]] = {}
    for choice in choices:
        groups.setdefault(terms_of(choice), []).append(choice.value)
    every_tier, every_place, every_needs = zip(*groups, strict=True)
    shared = tuple(one for one in every_needs[0] if all(one in needs for needs in every_needs))
    several_tiers, several_places = len(set(every_tier)) > 1, len(set(every_place)) > 1
    values = [choice.value for choice in choices]
    labels = patterns(values, knob.values) if len(groups) > 1 else values
    doc = prose(choices[0].apply.__doc__)
    said = [doc.rstrip(".")] if doc != prose(knob.doc) else []
    said += [] if several_tiers else [every_tier[0].capitalize()]
    said += [] if several_places else [every_place[0]]
    said += [f"Needs {listed(shared)}"] if shared else []
    yield f"- {', '.join(map(code, labels))}: {'. '.join(said)}."
    for (tier, place, needs), values in groups.items() if len(groups) > 1 else ():
        more = [one for one in needs if one not in shared]
        apart = [tier] if several_tiers else []
        apart += [place.lower()] if several_places else []
        apart += [f"needs {listed(more)}"] if more else []
        yield f"  - {', '.join(map(code, values))}: {'; '.join(apart or ['needs no more'])}."
    noted = [choice for choice in choices if choice.note is not nothing]
    for note, alike in groupby(noted, key=lambda choice: choice.note):
        values = [choice.value for choice in alike]
        yield f"  - {', '.join(map(code, values))}: {prose(note.__doc__)}"


def terms_of(choice: Choice) -> Terms:
    """The terms of a choice; which probe is its own goes without saying."""
    where = devices(choice.run_on or ())
    needs = [one.what for one in choice.need.each if one is not nothing]
    needs = [code(what) if what.startswith("--") else what for what in needs]
    needs = ["its probe" if what.startswith(PROBE) else what for what in needs]
    run_on = f"Run on {where}" if where else "Not run yet"
    return choice.tier.value, run_on, tuple(dict.fromkeys(needs))


def conflicts(knob: Knob) -> Iterator[str]:
    """Each conflict that is declared at the knob once, with the choices that it is about."""
    about: dict[tuple[str, str, bool, str], list[str]] = {}
    for choice in knob.choices[1:]:
        for one in choice.conflicts:
            if not one.choices or choice.value in one.choices:
                where = "" if one.where is nothing else f" for {one.where.what}"
                said = one.reason, where, bool(one.only), others(one)
                about.setdefault(said, []).append(choice.value)
    alike: dict[tuple[tuple[str, ...], str, str, bool], list[str]] = {}
    for (reason, where, only, theirs), values in about.items():
        alike.setdefault((tuple(values), reason, where, only), []).append(theirs)
    for (values, reason, where, only), theirs in alike.items():
        how = "only with" if only else "not with"
        mine = (
            "" if values == knob.values[1:] else ", ".join(map(code, patterns(values, knob.values)))
        )
        text = f"{mine} {how} {listed(theirs)}{where}: {reason}.".strip()
        yield f"- {text if mine else text[0].upper() + text[1:]}"


def others(conflict: Conflict) -> str:
    """The choices that a conflict names, by the name of the list where it has one."""
    values = conflict.only or conflict.others
    if known := NAMED.get((conflict.knob, values)):
        return known
    return code(f"{conflict.knob}={'|'.join(patterns(values, check_known(conflict.knob).values))}")


def names(other: Knob, knob: Knob) -> bool:
    """Whether a conflict that is declared at the other knob names this one."""
    return any(one.knob == knob.name for choice in other.choices for one in choice.conflicts)


def devices(kinds: Iterable[str]) -> str:
    """Kinds of devices in their order; what torch calls cuda is AMD's where it says rocm."""
    found = set(kinds)
    return ", ".join(kind for kind in (*KINDS, "rocm") if kind in found)


NOT_OF_NVIDIA = ("a GPU of AMD", "a build of torch for ROCm", "macOS", "mps or cpu", "cpu", "hpu")
"""Needs that a GPU of NVIDIA does not meet, whatever is installed."""


def unverified_on_cuda() -> str:
    """The choices that a GPU of NVIDIA may be given, and that no row shows to have run on one."""
    named = []
    for knob in all_knobs():
        left = [
            choice.value
            for choice in knob.choices[1:]
            if "cuda" not in (choice.run_on or ())
            and not any(need.what in NOT_OF_NVIDIA for need in choice.need.each)
        ]
        short = "|".join(patterns(left, knob.values))
        named += [code(f"{knob.name}={short}")] if left else []
    return ", ".join(named)


def prose(docstring: str | None) -> str:
    """A docstring on one line, as Markdown."""
    return " ".join((docstring or "").split()).replace("``", "`")
