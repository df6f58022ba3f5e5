"""The winner with its evidence, as it is written to and read from ``config.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from search_space.errors import UsageError
from search_space.machine import Machine
from search_space.trial import Measurement, Trial
from search_space.workload import Workload

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class TunedConfig:
    """A config, what it was measured on, and its figures beside the baseline's.

    ``config`` names what differs from the baseline. ``folder`` is where the model's files lay. The
    speed-up is the baseline's latency over the tuned one's in the race, with the bounds of its 95 %
    interval; it is None where there was no race. ``changes`` says what each change brings.
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

    speedup: float | None = None
    speedup_low: float | None = None
    speedup_high: float | None = None
    objective: str = "latency"
    break_even_images: int | None = None
    drift: float = 0.0
    changes: Sequence[Mapping[str, Any]] = ()

    def to_json(self) -> dict[str, Any]:
        """The content of ``config.json``."""
        facts = asdict(self)
        software = facts["machine"].pop("packages")
        return {"schema_version": SCHEMA_VERSION, **facts, "software": software}

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
        facts["machine"]["packages"] = facts.pop("software")
        facts["machine"] = Machine.from_json(facts["machine"])
        facts["workload"] = Workload.from_json(facts["workload"])
        facts["changes"] = tuple(facts.get("changes", ()))
        return cls(
            **{known.name: facts[known.name] for known in fields(cls) if known.name in facts}
        )


def raced_figures(trial: Trial, raced: Sequence[Trial]) -> dict[str, Any]:
    """The figures of a config: of its first trial; latency, its flags and the peak from a race."""
    measured = [known.measurement for known in raced if known.measurement is not None]
    if not measured:
        return figures(trial)
    peaks = [known.peak_bytes for known in (trial.measurement, *measured) if known is not None]
    latency_s = geometric_mean(known.latency_s for known in measured)
    return {
        **figures(trial),
        "latency_s": latency_s,
        "peak_bytes": max(peaks),
        "disturbed": among([known.disturbed for known in measured], "rounds"),
        "unstable": among([known.unstable for known in measured], "rounds"),
    }


def among(complaints: Sequence[str | None], kind: str) -> str | None:
    """What spoiled a race: the first complaint, and of how many rounds or trials there was one."""
    found = [complaint for complaint in complaints if complaint]
    return f"{found[0]}, in {len(found)} of {len(complaints)} {kind}" if found else None


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
        "lpips": measured.fidelity.get("lpips") if measured else None,
        "tier": tier_name(measured),
        "disturbed": trial.outcome.disturbed,
        "unstable": trial.outcome.unstable,
    }


def tier_name(measured: Measurement | None) -> str | None:
    """The measured tier, ``other`` beyond lossy, None where nothing was compared."""
    if measured is None or not measured.compared:
        return None
    return measured.tier.value if measured.tier else "other"
