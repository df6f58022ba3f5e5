"""The figures of a trial, as tables and JSON show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import geometric_mean
from typing import Any

from search_space.config import Config
from search_space.trial import Measurement, Trial


@dataclass(frozen=True)
class Figures:
    """The figures of a config; unknown ones are None.

    ``latency_s`` is seconds a call, an image with the throughput objective; ``tier`` the measured
    one. ``disturbed`` and ``unstable`` say in words what spoils the latency.
    """

    config: Config
    trial: int
    latency_s: float | None = None
    peak_bytes: int | None = None
    host_peak_bytes: int | None = None
    psnr_db: float | None = None
    ssim: float | None = None
    lpips: float | None = None
    tier: str | None = None
    disturbed: str | None = None
    unstable: str | None = None

    @classmethod
    def of(cls, config: Config, facts: Mapping[str, Any]) -> Figures:
        """The figures in a tuned config's JSON."""
        values = {field.name: facts[field.name] for field in fields(cls) if field.name in facts}
        return cls(config, **values)


def raced_figures(trial: Trial, race_trials: Sequence[Trial]) -> dict[str, Any]:
    """The figures of a config: of its first trial; latency, its flags and the peak from a race."""
    measurements = [raced.measurement for raced in race_trials if raced.measurement is not None]
    if not measurements:
        return figures(trial)
    all_measurements = [*measurements, *([trial.measurement] if trial.measurement else [])]
    latency_s = geometric_mean(measurement.latency_s for measurement in measurements)
    return {
        **figures(trial),
        "latency_s": latency_s,
        "peak_bytes": max(measurement.peak_bytes for measurement in all_measurements),
        "disturbed": among([measurement.disturbed for measurement in measurements], "rounds"),
        "unstable": among([measurement.unstable for measurement in measurements], "rounds"),
    }


def among(complaints: Sequence[str | None], kind: str) -> str | None:
    """What spoiled a race: the first complaint, and of how many rounds or trials there was one."""
    sentences = [complaint for complaint in complaints if complaint]
    if not sentences:
        return None
    return f"{sentences[0]}, in {len(sentences)} of {len(complaints)} {kind}"


def figures(trial: Trial) -> dict[str, Any]:
    """The figures of a trial; unknown ones are None."""
    measurement = trial.measurement
    peak_bytes = measurement.peak_bytes if measurement else trial.outcome.peak_bytes
    return {
        "trial": trial.number,
        "latency_s": measurement.latency_s if measurement else None,
        "peak_bytes": peak_bytes,
        "host_peak_bytes": measurement.host_peak_bytes if measurement else None,
        "psnr_db": measurement.psnr_db if measurement else None,
        "ssim": measurement.fidelity.get("ssim") if measurement else None,
        "lpips": measurement.fidelity.get("lpips") if measurement else None,
        "tier": tier_name(measurement),
        "disturbed": trial.outcome.disturbed,
        "unstable": trial.outcome.unstable,
    }


def tier_name(measurement: Measurement | None) -> str | None:
    """The measured tier, ``other`` beyond lossy, None where nothing was compared."""
    return measurement.tier_name if measurement else None


IDENTICAL_DB = 200.0
"""The PSNR given to identical images, for which it has no finite value."""
