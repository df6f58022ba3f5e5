"""The tier of an output, by its metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping

from search_space.knob import Tier

Fidelity = Mapping[str, float]
"""What was measured of a trial's output beside the reference's, the worst of all, by metric.

``floor_psnr_db`` and ``floor_ssim`` are the reference's own, against itself with other rounding.
"""

LIMITS: Mapping[Tier, Fidelity] = {
    Tier.EXACT: {"psnr_db": 50.0, "ssim": 0.99, "latent_error": 1e-3},
    Tier.LOSSLESS: {"psnr_db": 30.0, "ssim": 0.95, "lpips": 0.05},
    Tier.NEAR: {"psnr_db": 25.0, "ssim": 0.90, "lpips": 0.10},
    Tier.LOSSY: {"psnr_db": 20.0, "ssim": 0.75, "lpips": 0.25},
}
"""By PSNR errors of 0.3 % of the range of pixels, less than one of 256 levels, then 3, 6 and 10 %;
SSIM and LPIPS speak up where structure has changed at the same error. Stricter limits put what
merely rounds into a further tier, laxer ones let more be lost under the same word. They were set,
and not fitted to what people see."""

ANOTHER_IMAGE: Fidelity = {"psnr_db": 20.0, "ssim": 0.5}
"""Below one of these it is another image, and its trial has failed."""

FLOOR_MARGIN_DB = 6.0
"""An error of twice the floor's is always granted: 6 dB of PSNR, and four times
what SSIM lacks or LPIPS is."""


def measured_tier(fidelity: Fidelity) -> Tier | None:
    """The first tier whose limits hold; None where the output is further than lossy."""
    return next((tier for tier in Tier if excess(fidelity, tier) <= 0), None)


def excess(fidelity: Fidelity, tier: Tier) -> float:
    """How far beyond the limits of the tier, about 1 when hopeless; at most 0 where they hold.

    A metric that was not taken holds. What is called exact is so whatever the noise floor.
    """
    limits = {name: limit for name, limit in LIMITS[tier].items() if name in fidelity}
    if tier is not Tier.EXACT:
        limits = {name: eased(name, limit, fidelity) for name, limit in limits.items()}
    excesses = (_excess_of(name, fidelity[name], limit) for name, limit in limits.items())
    return max(excesses, default=-1.0)


def eased(name: str, limit: float, fidelity: Fidelity) -> float:
    """The limit, no stricter than what the noise floor of the reference allows."""
    if name == "psnr_db":
        return min(limit, fidelity.get("floor_psnr_db", math.inf) - FLOOR_MARGIN_DB)
    if name == "ssim":
        return min(limit, 1 - 4 * (1 - fidelity.get("floor_ssim", 1.0)))
    if name == "lpips":
        return max(limit, 4 * fidelity.get("floor_lpips", 0.0))
    return limit


def _excess_of(name: str, value: float, limit: float) -> float:
    if name == "psnr_db":
        return (limit - value) / 10
    if name == "ssim":
        return (limit - value) / 0.1
    if name == "lpips":
        return (value - limit) / 0.1
    return -1.0 if value == 0 else math.log10(value / limit)
