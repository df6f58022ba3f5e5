"""A store with a few trials, as runs of some time ago would have left it."""

from __future__ import annotations

from pathlib import Path

from search_space.budget import Budget
from search_space.config import BASELINE, Config
from search_space.trial import Failure, FailureKind, Measurement, Peak, Purpose, Trial
from search_space.workload import Workload
from storage import Store
from tests.machines import described

STARTED = "2026-01-31T12:00:00+00:00"


def fill(path: Path) -> None:
    """Add a baseline, a faster config and a failure."""
    peaks = (Peak("host", "load", "rss", 2**30),)
    slow = Measurement({"load": (1.0,), "first_call": (3.0,), "steady": (2.0, 2.1)}, peaks, {})
    fast = Measurement(
        {"load": (1.0,), "first_call": (2.0,), "steady": (1.0, 1.1)}, peaks, {"psnr_db": 50.0}
    )
    crash = Failure(FailureKind.CRASH, "killed by SIGSEGV", "load")
    with Store(str(path)) as store:
        study = store.open_study(described(), Workload("somebody/model"), Budget(), {})
        store.add(study, Trial(BASELINE, slow, 9.0, STARTED, purpose=Purpose.BASELINE))
        store.add(study, Trial(Config({"memory_format": "channels_last"}), fast, 9.0, STARTED))
        store.add(study, Trial(Config({"precision": "bf16"}), crash, 2.0, STARTED))
