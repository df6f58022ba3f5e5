"""Documents that were right until something happened to them, and documents that never were."""

from __future__ import annotations

import copy
import json

from hypothesis import strategies as st

TEXTS = st.text(max_size=8) | st.sampled_from(
    ["", "\ud800", "\x00", "\n", '"""', "\\", "\u202e", "../..", "NaN", "-1", "é" * 300]
)
HUGE = st.sampled_from([2**31, 2**40, -(2**63), 2**63, 10**30, -(10**400), 1e308])
NO_NUMBERS = st.sampled_from([float("nan"), float("inf"), -float("inf")])
# Up to what makes a model of some layers: more takes seconds, and is refused by a rule of its own.
SMALL = st.integers(-3, 40) | st.floats(-2, 2)
LEAVES = st.none() | st.booleans() | SMALL | HUGE | NO_NUMBERS | TEXTS
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


def paths(value, path=()):
    """The way to each value within a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, (dict, list)):
            yield from paths(inner, (*path, key))


def spoil(draw, document, path):
    """Do something to the value at the end of a path."""
    place = document
    for key in path[:-1]:
        place = place[key]
    key = path[-1]
    deeds = ["replace", "delete", "wrap", "empty", "text"]
    match draw(st.sampled_from([*deeds, "rename"] if isinstance(place, dict) else deeds)):
        case "replace":
            place[key] = draw(VALUES)
        case "delete":
            del place[key]
        case "wrap":
            place[key] = draw(st.sampled_from([[place[key]], {"x": place[key]}]))
        case "empty":
            place[key] = draw(st.sampled_from([[], {}, "", 0, None]))
        case "text":
            place[key] = str(place[key])
        case "rename":
            place[draw(TEXTS)] = place.pop(key)


def damage(draw, text):
    """Do something to a document's bytes."""
    content = text.encode()
    at = draw(st.integers(0, max(len(content) - 1, 0)))
    match draw(st.sampled_from(["cut", "byte", "bom", "utf-16", "deep", "twice", "longer"])):
        case "cut":
            return content[:at]
        case "byte":
            return content[:at] + draw(st.binary(min_size=1, max_size=2)) + content[at + 1 :]
        case "bom":
            return b"\xef\xbb\xbf" + content
        case "utf-16":
            return text.encode("utf-16")
        case "deep":
            return b'{"x":' + b"[" * 5000 + b"]" * 5000 + b"}"
        case "twice":
            return content[:-1] + b"," + content[1:]
        case "longer":
            return content + draw(st.binary(min_size=1, max_size=5))


@st.composite
def spoiled(draw, document):
    """A document after one to three accidents."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        if ways := list(paths(document)):
            spoil(draw, document, draw(st.sampled_from(ways)))
    return document


@st.composite
def files(draw, document):
    """The bytes of a file: a spoiled document in three of four cases, one of no such kind else."""
    kind = draw(st.integers(0, 7))
    if kind == 0:
        return draw(st.binary(max_size=20))
    text = json.dumps(draw(VALUES if kind == 1 else spoiled(document)))
    return damage(draw, text) if kind == 2 else text.encode()
