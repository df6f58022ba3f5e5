"""All faults, in the order of the table: each module declares its own."""

from __future__ import annotations

from tests.faults import (  # noqa: F401
    arguments,
    clock,
    disks,
    memory,
    models,
    pipes,
    postgresql,
    processes,
    stores,
    together,
    tuned_folders,
)
from tests.faults.fault import FAULTS

__all__ = ["FAULTS"]
