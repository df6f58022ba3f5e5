"""The winner with its evidence, as it is written to and read from ``config.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from search_space.errors import UsageError
from search_space.machine import Machine
from search_space.trial import Measurement, Trial
from search_space.workload import Workload

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class TunedConfig:
    """A config, what it was measured on, and its figures beside the baseline's.

    ``config`` names what differs from the baseline. ``folder`` is where the model's files lay.
    """

    config: Mapping[str, str]
    folder: str
    workload: Workload
    machine: Machine
    tuned: Mapping[str, Any]
    baseline: Mapping[str, Any] | None
    memory_bytes: int | None
    cache_dir: str
    created_at: str
    host_memory_bytes: int | None = None

    @property
    def speedup(self) -> float | None:
        """Baseline's latency over the tuned one's, None without a baseline."""
        if self.baseline is None or self.baseline["latency_s"] is None:
            return None
        return float(self.baseline["latency_s"] / self.tuned["latency_s"])

    def to_json(self) -> dict[str, Any]:
        """The content of ``config.json``."""
        facts = asdict(self)
        software = facts["machine"].pop("packages")
        version = {"schema_version": SCHEMA_VERSION}
        return {**version, **facts, "software": software, "speedup": self.speedup}

    @classmethod
    def read(cls, folder: Path) -> TunedConfig:
        """Read an emitted folder; raises UsageError where it is not one of ours."""
        path = folder / "config.json"
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{path} cannot be read ({error}): give the folder of a run"
            ) from error
        if not isinstance(facts, dict) or "schema_version" not in facts:
            raise UsageError(f"{path} was not written by 'tune run': give the folder of a run")
        if facts.pop("schema_version") != SCHEMA_VERSION:
            raise UsageError(f"{path} has another schema version: upgrade diffusers-autotune")
        facts.pop("speedup")
        facts["machine"]["packages"] = facts.pop("software")
        facts["machine"] = Machine.from_json(facts["machine"])
        facts["workload"] = Workload.from_json(facts["workload"])
        return cls(**facts)


def figures(trial: Trial) -> dict[str, Any]:
    """The figures of a trial; what is not known is None."""
    measured = trial.measurement
    peak_bytes = measured.peak_bytes if measured else trial.outcome.peak_bytes
    return {
        "trial": trial.number,
        "latency_s": measured.latency_s if measured else None,
        "peak_bytes": peak_bytes,
        "host_peak_bytes": measured.host_peak_bytes if measured else None,
        "psnr_db": measured.psnr_db if measured else None,
        "ssim": measured.fidelity.get("ssim") if measured else None,
        "tier": tier_name(measured),
        "disturbed": trial.outcome.disturbed,
        "unstable": trial.outcome.unstable,
    }


def tier_name(measured: Measurement | None) -> str | None:
    """The measured tier, ``other`` beyond lossy, None where nothing was compared."""
    if measured is None or not measured.compared:
        return None
    return measured.tier.value if measured.tier else "other"
