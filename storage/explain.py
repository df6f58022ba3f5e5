"""An error of the database as one line that says what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

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
    for part, meaning in SENTENCES.items():
        if place.is_sqlite and part in message:
            return f"{place} {meaning}"
    return f"{place} refused: {message}; check that it is reachable and not changed by hand"
