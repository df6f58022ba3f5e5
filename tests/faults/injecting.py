"""Inject one fault in a lab of its own."""

from __future__ import annotations

import shutil
import subprocess
import time
import uuid
from pathlib import Path

from tests.faults.fault import Fault, Row
from tests.faults.lab import Lab
from tests.faults.remains import row


def inject(fault: Fault, folder: Path, models: Path) -> Row:
    """Inject a fault and say what became of it; ``models`` holds the built reference pipeline."""
    if reason := fault.lacks():
        return Row(fault.kind, fault.name, skipped=reason)
    began_s = time.monotonic()
    place = folder / uuid.uuid4().hex[:8]
    place.mkdir(parents=True)
    try:
        with Lab(place, models) as lab:
            try:
                fault.inject(lab)
            except subprocess.TimeoutExpired as error:
                lab.wrong.append(f"did not end within {error.timeout:.0f} s")
            return row(lab, fault, time.monotonic() - began_s)
    finally:
        shutil.rmtree(place, ignore_errors=True)
