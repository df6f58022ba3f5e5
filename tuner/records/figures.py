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
    """The figures of a config; what is not known is None.

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
    def of(cls, config: Config, known: Mapping[str, Any]) -> Figures:
        """Those of a tuned config's JSON."""
        mine = {one.name: known[one.name] for one in fields(cls) if one.name in known}
        return cls(config, **mine)


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


IDENTICAL_DB = 200.0
"""The PSNR given to identical images, for which it has no finite value."""
