"""What could be installed or said so that more can be chosen here."""

from __future__ import annotations

import re
from collections.abc import Mapping

from search_space.catalog import all_knobs
from search_space.knob import Context

COMMAND = re.compile(r"pip install \S.*$|--allow-[a-z-]+")
"""What a reason asks for: something to install, or an option of ``tune run``."""


def unlocking(context: Context) -> Mapping[str, tuple[str, ...]]:
    """Command to the choices that only wait for it, the command that brings most first.

    A choice that lacks more, such as another device, is not named.
    """
    waiting: dict[str, list[str]] = {}
    for knob in all_knobs():
        for choice in knob.choices:
            parts = choice.need.each or (choice.need,)
            reasons = [reason for part in parts if (reason := part(context)) is not None]
            commands = [COMMAND.search(reason) for reason in reasons]
            if reasons and all(commands):
                found = dict.fromkeys(match.group() for match in commands if match)
                waiting.setdefault(" and ".join(found), []).append(f"{knob.name}={choice.value}")
    most_first = sorted(waiting.items(), key=lambda item: -len(item[1]))
    return {command: tuple(choices) for command, choices in most_first}
