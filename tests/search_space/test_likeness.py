from __future__ import annotations

import pytest

from search_space.fidelity import ANOTHER_IMAGE, LIMITS, eased, excess, measured_tier
from search_space.knob import Tier

# Same-seed figures that others have published for a full-size pipeline and its quantizations.
ROUNDING = {"psnr_db": 42.3, "ssim": 0.994, "latent_error": 0.02}
EIGHT_BITS = {"psnr_db": 30.4, "ssim": 0.969}
SIX_BITS = {"psnr_db": 26.2, "ssim": 0.922}
FOUR_BITS = {"psnr_db": 20.2, "ssim": 0.79}


@pytest.mark.parametrize(
    ("fidelity", "tier"),
    [
        ({"psnr_db": 200.0, "ssim": 1.0, "latent_error": 0.0}, Tier.EXACT),
        ({"psnr_db": 90.0, "ssim": 1.0, "latent_error": 2e-3}, Tier.LOSSLESS),
        # The same latents decoded in another way: the pixels decide.
        ({"psnr_db": 35.0, "ssim": 0.97, "latent_error": 0.0}, Tier.LOSSLESS),
        (ROUNDING, Tier.LOSSLESS),
        (EIGHT_BITS, Tier.LOSSLESS),
        (SIX_BITS, Tier.NEAR),
        ({"psnr_db": 45.0, "ssim": 0.91}, Tier.NEAR),
        (FOUR_BITS, Tier.LOSSY),
        ({"psnr_db": 24.9, "ssim": 0.99}, Tier.LOSSY),
        ({"psnr_db": 30.0, "ssim": 0.7}, None),
    ],
)
def test_the_tier_is_the_first_whose_limits_all_hold(fidelity, tier):
    assert measured_tier(fidelity) is tier


def test_a_chaotic_model_is_granted_twice_its_own_error():
    floor = {"floor_psnr_db": 28.0, "floor_ssim": 0.97}
    chaotic = {"psnr_db": 22.5, "ssim": 0.89}
    assert measured_tier(chaotic) is Tier.LOSSY
    assert measured_tier({**chaotic, **floor}) is Tier.LOSSLESS
    assert measured_tier({"psnr_db": 21.0, "ssim": 0.89, **floor}) is Tier.LOSSY


def test_a_quiet_model_is_granted_nothing():
    floor = {"floor_psnr_db": 120.0, "floor_ssim": 1.0}
    for fidelity in (ROUNDING, EIGHT_BITS, SIX_BITS, FOUR_BITS):
        assert measured_tier({**fidelity, **floor}) is measured_tier(fidelity)


def test_the_search_is_told_how_far_off_a_config_is():
    by_tier = [excess(SIX_BITS, tier) for tier in Tier]
    assert by_tier == sorted(by_tier, reverse=True)
    assert by_tier[1] > 0 > by_tier[2]
    assert excess(FOUR_BITS, Tier.NEAR) > excess(SIX_BITS, Tier.NEAR)


def test_the_limits_grow_stricter_tier_by_tier():
    for looser, stricter in zip(list(Tier)[1:], Tier, strict=False):
        for metric in ("psnr_db", "ssim"):
            assert LIMITS[looser][metric] < LIMITS[stricter][metric]
    for metric, limit in ANOTHER_IMAGE.items():
        assert limit <= LIMITS[Tier.LOSSY][metric]
        assert eased(metric, limit, {}) == limit
