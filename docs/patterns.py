"""Choices in short: patterns with a star, which stands for whole words between dashes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def patterns(values: Iterable[str], known: Sequence[str]) -> list[str]:
    """The values in short: ``flash-*`` or ``*-hub`` where that means no other of those known."""
    left, found = list(values), []
    while left:
        pattern = next(one for one in candidates(left) if meant(one, known) <= set(left))
        found.append(pattern)
        left = [value for value in left if value not in meant(pattern, known)]
    return found


def candidates(values: Sequence[str]) -> Iterator[str]:
    """Patterns for the first value, the widest first: its first words, its last, the whole."""
    words = values[0].split("-")
    for count in range(1, len(words) + 1):
        start = "-".join(words[:count])
        alike = [value for value in values if value == start or value.startswith(f"{start}-")]
        if len(alike) > 1:
            start = common_start(alike)
            yield f"{start}*" if start in alike else f"{start}-*"
    ending = f"-{words[-1]}"
    if len(values) > 1 and all(value.endswith(ending) for value in values):
        yield f"*{ending}"
    yield values[0]


def meant(pattern: str, known: Sequence[str]) -> set[str]:
    """The known values that a pattern means; its star stands for whole words."""
    if "*" not in pattern:
        return {pattern}
    if pattern.startswith("*"):
        return {value for value in known if value.endswith(pattern[1:])}
    start = pattern.rstrip("-*")
    itself = {start} & set(known) if not pattern.endswith("-*") else set()
    return itself | {value for value in known if value.startswith(f"{start}-")}


def common_start(values: Sequence[str]) -> str:
    """The words that all values begin with."""
    alike = []
    for words in zip(*(value.split("-") for value in values), strict=False):
        if len(set(words)) > 1:
            break
        alike.append(words[0])
    return "-".join(alike)
