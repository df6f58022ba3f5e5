"""docs/optimizations.md leaves out no choice, need or conflict, and says each once."""

from __future__ import annotations

import importlib
import re
from itertools import product
from pathlib import Path
from types import ModuleType

import pytest

from search_space.catalog import all_knobs
from search_space.knob import Conflict, Knob, nothing

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/optimizations.md").read_text(encoding="utf-8")
KNOWN = ("sdpa", "sdpa-math", "sdpa-flash", "flash", "flash-3", "flash-hub", "sage", "sage-hub")
WORDS = 6000

every_knob = pytest.mark.parametrize("knob", all_knobs(), ids=lambda knob: knob.name)


@pytest.fixture
def page(monkeypatch) -> ModuleType:
    """What makes the generated parts."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    return importlib.import_module("optimizations")


@pytest.fixture
def patterns(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "docs")
    return importlib.import_module("patterns")


def section(knob: Knob) -> str:
    return re.split(r"\n##+ ", PAGE.partition(f"\n### {knob.name}\n")[2])[0]


def test_the_page_is_short_enough_to_be_read():
    assert len(PAGE.split()) < WORDS


@every_knob
def test_every_knob_and_choice_is_documented_with_what_it_needs(knob):
    choices = section(knob).partition("Conflicts:")[0]
    assert f"| [{knob.name}](#{knob.name}) |" in PAGE
    assert knob.doc.replace("``", "`") in choices
    assert [value for value in knob.values if f"`{value}`" not in choices] == []
    needs = {one.what for choice in knob.choices[1:] for one in choice.need.each}
    told = {what for what in needs if what != "nothing" and not what.startswith("the probe ")}
    assert {what for what in told if what not in choices} == set()
    assert ("its probe" in choices) == any(what.startswith("the probe ") for what in needs)


@every_knob
def test_every_conflict_is_documented_once_at_the_knob_that_declares_it(knob, page, patterns):
    declared = dict.fromkeys(one for choice in knob.choices for one in choice.conflicts)
    for choice, conflict in product(knob.choices[1:], declared):
        narrowed = not conflict.choices or choice.value in conflict.choices
        found = [
            line
            for line in conflict_lines(knob)
            if choice.value in subjects(line[1], knob, patterns)
            and (line[2].lower() == "only") == bool(conflict.only)
            and says(line[3], conflict, page)
        ]
        assert len(found) == (conflict in choice.conflicts and narrowed)


def conflict_lines(knob: Knob) -> list[re.Match[str]]:
    listed = section(knob).partition("Conflicts:\n\n")[2].partition("\n\n")[0].splitlines()
    found = [re.fullmatch(r"- (.*?)(Not|not|Only|only) with (.*)", line) for line in listed]
    assert None not in found
    return [line for line in found if line]


def subjects(written: str, knob: Knob, patterns: ModuleType) -> set[str]:
    """The choices that a line is about: those that it begins with, or all."""
    named = re.findall("`(.*?)`", written) or knob.values[1:]
    return set().union(*(patterns.meant(one, knob.values) for one in named))


def says(written: str, conflict: Conflict, page: ModuleType) -> bool:
    where = "" if conflict.where is nothing else f" for {conflict.where.what}"
    return page.others(conflict) in written and written.endswith(f"{where}: {conflict.reason}.")


@pytest.mark.parametrize(
    ("values", "short"),
    [
        (("flash", "flash-3", "sage", "flash-hub", "sage-hub"), ["flash*", "sage*"]),
        (("flash", "flash-3"), ["flash", "flash-3"]),
        (("flash-hub", "sage-hub"), ["*-hub"]),
        (("flash-3", "sage-hub"), ["flash-3", "sage-hub"]),
        (("sdpa-math", "sdpa-flash"), ["sdpa-*"]),
        (("sdpa", "sdpa-math", "sdpa-flash"), ["sdpa*"]),
    ],
)
def test_a_pattern_stands_for_these_choices_and_no_others(values, short, patterns):
    assert patterns.patterns(values, KNOWN) == short
    assert set().union(*(patterns.meant(one, KNOWN) for one in short)) == set(values)


def test_a_star_stands_for_whole_words(patterns):
    assert patterns.meant("flash*", ("flash", "flash-3", "flashy")) == {"flash", "flash-3"}
    assert patterns.meant("flash-*", ("flash", "flash-3", "flashy")) == {"flash-3"}
    assert patterns.meant("*-hub", ("hub", "sage-hub")) == {"sage-hub"}
