"""The errors a user can meet.

TuneError             something went wrong: one line, exit code 1
└── UsageError        what was asked for cannot be done: one line, exit code 2
    ├── ModelError    the model does not exist or does not load
    └── StoreError    the store is not ours, not readable or not writable
"""

from __future__ import annotations


class TuneError(Exception):
    """The run failed; the message says what to do next."""

    exit_code = 1


class UsageError(TuneError):
    """The request cannot be met; the message says what to change."""

    exit_code = 2


class ModelError(UsageError):
    """The model does not exist or does not load."""


class StoreError(UsageError):
    """The store is not ours, or cannot be read or written."""


class NoStoreError(StoreError):
    """There is no store where one was to be read."""
