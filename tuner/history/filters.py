"""Filters as people write them, as filters of the store: nothing of the text becomes SQL."""

from __future__ import annotations

import json
from difflib import get_close_matches

from search_space.catalog import all_knobs
from search_space.config import Config
from search_space.errors import UsageError
from search_space.identity import canonical_json
from search_space.units import parse_duration, parse_size
from storage.summary import COLUMNS, FIGURE, NUMBER, OPERATORS, Filter, Order

NAMED_OPERATORS = {"lt": "<", "le": "<=", "eq": "=", "==": "=", "ne": "!=", "ge": ">=", "gt": ">"}
"""The same in letters, which no shell takes for its own."""

OF_TEXT = ("=", "!=", "has", "lacks")
OF_MOMENTS = ("<", "<=", ">=", ">", *OF_TEXT)
OF_NUMBERS = ("<", "<=", "=", "!=", ">=", ">")
NOTHING = ("null", "none")
"""What asks for a value that is not known."""


def filter_of(field: str, operator: str, value: object) -> Filter:
    """``latency_s < 500ms`` as a filter; raises UsageError."""
    check_field(field)
    symbol = NAMED_OPERATORS.get(operator, operator)
    if symbol not in OPERATORS:
        raise UsageError(f"no operator {operator!r}: there are {', '.join(OPERATORS)}")
    if value is None or str(value).lower() in NOTHING:
        if symbol not in ("=", "!="):
            raise UsageError(f"{field} {symbol} null asks nothing: use = or !=")
        return Filter(field, symbol, None)
    known = operators_of(field)
    if symbol not in known:
        raise UsageError(f"{field} takes no {symbol}: it takes {', '.join(known)}")
    if field == "config":
        return _of_config(symbol, str(value))
    return Filter(field, symbol, value_of(field, value))


def operators_of(field: str) -> tuple[str, ...]:
    """The operators that a field takes."""
    if COLUMNS[field][0] in (NUMBER, FIGURE):
        return OF_NUMBERS
    return OF_MOMENTS if field == "started_at" else OF_TEXT


def value_of(field: str, value: object) -> str | int | float:
    """The value in the unit of the field; raises UsageError."""
    kind, text = COLUMNS[field][0], str(value).strip()
    if kind not in (NUMBER, FIGURE):
        return text
    if isinstance(value, (int, float)):
        return value
    try:
        return int(text) if kind is NUMBER else float(text)
    except ValueError:
        pass
    if field.endswith("_bytes"):
        return parse_size(text)
    if field.endswith("_s"):
        return parse_duration(text)
    for unit in ("db", "x"):
        if text.lower().endswith(unit):
            return value_of(field, text[: -len(unit)])
    raise UsageError(f"{text!r} is not a number, as {field} is")


def order_of(text: str) -> Order:
    """``latency_s``, or ``-latency_s`` for the largest first; raises UsageError."""
    field = text.removeprefix("-")
    check_field(field)
    return Order(field, descending=text.startswith("-"))


def size_filters(text: str) -> list[Filter]:
    """``1024x768``: width and height in pixels; raises UsageError."""
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdigit() and height.isdigit()):
        raise UsageError(f"{text!r} is not a size: write width and height in pixels, as 512x512")
    return [Filter("width", "=", int(width)), Filter("height", "=", int(height))]


def machine_filter(text: str) -> Filter:
    """A machine by its number, or by a part of its device's name."""
    return Filter("machine", "=", int(text)) if text.isdigit() else Filter("device", "has", text)


def check_field(field: str) -> None:
    """Raise UsageError where the view has no such field."""
    if field not in COLUMNS:
        close = get_close_matches(field, COLUMNS, 1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(COLUMNS)}"
        raise UsageError(f"no field {field!r}: {hint}")


def _of_config(symbol: str, text: str) -> Filter:
    if symbol in ("=", "!="):
        pairs = [] if text == "baseline" else [part.partition("=") for part in text.split(",")]
        choices = {name.strip(): value.strip() for name, _, value in pairs}
        return Filter("config", symbol, canonical_json(Config(choices).changes))
    knob, equals, choice = text.partition("=")
    if not equals:
        return Filter("config", symbol, text)
    # A knob at its first choice is not named.
    first = {each.name: each.values[0] for each in all_knobs()}
    if first.get(knob) == choice:
        return Filter("config", "lacks" if symbol == "has" else "has", f"{json.dumps(knob)}:")
    return Filter("config", symbol, f"{json.dumps(knob)}:{json.dumps(choice)}")
