"""JSON that others may have written or damaged: read as our types say, or refused in a sentence."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from reprlib import repr as short
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

INTEGERS = range(-(2**63), 2**63)
"""What a store and a tensor can hold; a larger one in a file is a slip or an attack."""

MOST_BYTES = 2**24
"""Of a file of ours or of a model's config, which have kilobytes: what is larger is none."""

Plain = Annotated[Any, str | int | float | bool | None]
"""What JSON holds beside objects and lists."""

MOST = 2**31 - 1
"""Of pixels, steps or frames: some libraries count in 32 bits."""

Count = Annotated[int, range(1, MOST + 1)]


def read_object(path: Path, integers: range = INTEGERS) -> dict[str, Any]:
    """The JSON object in a file; raises OSError, or ValueError, as for integers beyond these."""

    def integer(digits: str) -> int:
        if int(digits) not in integers:
            raise ValueError(f"it holds a number beyond {integers[-1]}")
        return int(digits)

    # Of a pipe or a device there is no end.
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES >> 20} MiB")
    try:
        value = json.loads(content.decode("utf-8"), parse_int=integer)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("it holds no JSON object")
    return value


def typed(kind: Any, value: Any, where: str = "") -> Any:
    """JSON as a value of this type; raises ValueError that names the place.

    Objects become dataclasses, whose unknown fields are ignored, and mappings; lists become tuples.
    ``Annotated[int, range(1, 9)]`` bounds a number, or the length of anything else;
    ``Annotated[Any, int]`` is checked to be what stands second.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin is Annotated:
        if not isinstance(arguments[1], range):
            return typed(arguments[1], value, where)
        return _within(arguments[1], typed(arguments[0], value, where), where)
    if origin in (Union, UnionType):
        return _one_of(arguments, value, where)
    if is_dataclass(kind):
        return _record(kind, value, where)
    if origin in (tuple, Sequence):
        items = _checked(list, value, where)
        return tuple(typed(arguments[0], each, f"{where}[{i}]") for i, each in enumerate(items))
    if origin is Mapping or (isinstance(kind, type) and issubclass(kind, Mapping)):
        inner = arguments[1] if arguments else str
        items = _checked(dict, value, where)
        made = {
            _text(key, where): typed(inner, each, f"{where}.{_plain(key)}")
            for key, each in items.items()
        }
        return made if origin is Mapping else kind(made)
    if kind is float:
        return _number(value, where)
    checked = _checked(kind, value, where)
    return _text(checked, where) if kind is str else checked


def _one_of(kinds: Sequence[Any], value: Any, where: str) -> Any:
    if value is None and NoneType in kinds:
        return None
    refusals = []
    for kind in kinds:
        try:
            return typed(kind, value, where)
        except ValueError as error:
            refusals.append(error)
    raise refusals[0]


def _record(kind: Any, value: Any, where: str) -> Any:
    facts = _checked(dict, value, where)
    types = get_type_hints(kind, include_extras=True)
    values = {}
    for field in fields(kind):
        place = f"{where}.{field.name}".lstrip(".")
        if field.name in facts:
            values[field.name] = typed(types[field.name], facts[field.name], place)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{place} is missing")
    return kind(**values)


def _plain(key: str) -> str:
    return key if key.isprintable() and len(key) < 40 else short(key)


def _checked(kind: Any, value: Any, where: str) -> Any:
    # To Python True is an integer.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{where or 'it'} is {short(value)}")
    return value


def _within(limits: range, value: Any, where: str) -> Any:
    if (value if isinstance(value, int) else len(value)) not in limits:
        raise ValueError(f"{where} is {short(value)}, beyond {limits[0]} to {limits[-1]}")
    return value


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{where} is {short(value)}")
    return value


def _text(value: str, where: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{where} is {short(value)}, which is no text") from error
    return value
