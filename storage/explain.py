"""An error of the database as one line that says what to do next."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, OperationalError

from search_space.errors import StoreError
from storage.place import Place

# A part of SQLite's message, and what it means to the user. The text is all there is to go by:
# Python names the error's code only from 3.11.
SENTENCES = {
    "readonly database": "cannot be written: allow writing to the file and its folder",
    "unable to open": "cannot be opened: check its folder and the permissions",
    "disk is full": "has no room: the disk is full; free some space, stored trials are kept",
    "disk I/O error": "cannot be read or written: the disk answers with an error or has a limit",
    "locked": "is busy: another process keeps writing to it; wait until that ends",
    "not a database": "is not an SQLite file: give another file",
    "malformed": "is damaged: put back a copy, or move it away to start anew",
}


# What PostgreSQL says of the same, by the code of its error or the beginning of that:
# https://www.postgresql.org/docs/current/errcodes-appendix.html
DISK_FULL = "53100"
GONE_CODES = ("08", "57P")


LEAST_FREE_BYTES = 2**16
"""SQLite's file of locks alone has 32 KiB; with less than twice that free, a disk is full."""


@contextmanager
def explained(place: Place) -> Iterator[None]:
    """Raises StoreError, with one line, for whatever the database or the file system says."""
    try:
        yield
    except DBAPIError as error:
        raise StoreError(sentence(place, error)) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"{place} cannot be opened ({reason}): give another file") from error
    except OverflowError as error:
        raise StoreError(f"{place} takes no number that large: give a smaller one") from error


def sentence(place: Place, error: DBAPIError) -> str:
    """The line for one error of the driver."""
    message = " ".join(str(error.orig).split())
    if place.is_sqlite:
        if "disk I/O error" in message and _is_full(place):
            message = "disk is full"
        for part, meaning in SENTENCES.items():
            if part in message:
                return f"{place} {meaning}"
    elif isinstance(error, OperationalError):
        code = getattr(error.orig, "sqlstate", None)
        if code == DISK_FULL:
            return f"{place} {SENTENCES['disk is full']}"
        if code is None or code.startswith(GONE_CODES):
            gone = "the PostgreSQL server is gone or refuses; start it or check the URL"
            return f"{place} does not answer ({message}): {gone}"
    return f"{place} refused: {message}; check that it is reachable and not changed by hand"


def _is_full(place: Place) -> bool:
    # What SQLite cannot do beside its file on a full disk it calls an error of the disk.
    folder = place.file.parent if place.file else None
    return folder is not None and shutil.disk_usage(folder).free < LEAST_FREE_BYTES
