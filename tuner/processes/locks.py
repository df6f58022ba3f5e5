"""Locks on files, which the system gives up with the process that holds them, however it ends."""

from __future__ import annotations

import sys


def locked(descriptor: int) -> bool:
    """Whether the open file is ours now; on Windows, which has no such locks, it always is."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
