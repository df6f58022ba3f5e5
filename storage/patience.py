"""What fails for a passing reason is tried again for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, OperationalError

T = TypeVar("T")

PATIENCE_S = 30.0
"""How long a run tries again: a PostgreSQL server restarts within seconds and its stand-in takes
over within some ten. Longer, and it is better to say so and to write what is known."""

FIRST_PAUSE_S = 0.1
"""Before the second attempt, doubled with each further one: a server that cut the connections of a
moment ago may take new ones already."""

LONGEST_PAUSE_S = 2.0
"""Between attempts, which then cost a server that is starting nothing worth mentioning."""


def patiently(attempt: Callable[[], T], patience_s: float) -> T:
    """What the attempt gives; it must be one that may be made again, done or not."""
    ends_s = time.monotonic() + patience_s
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return attempt()
        except DBAPIError as error:
            if not may_pass(error) or time.monotonic() + pause_s > ends_s:
                raise
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def may_pass(error: DBAPIError) -> bool:
    """Whether it is about the database at work, such as a full disk or a lost connection.

    That is what drivers call operational; other errors are about the statement or the data.
    """
    return isinstance(error, OperationalError) or error.connection_invalidated
