"""What is expected before any trial, in words and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from search_space.proposal import Expectation, Proposal
from tuner.report.listing import Listing, Row


def prediction_sentence(prediction: Proposal) -> str:
    """One sentence for the beginning of a run."""
    expected = prediction.expected
    assert expected is not None
    return (
        f"Expected, not measured: {speedup_text(expected)} by {prediction.config.describe()}, "
        f"with {peak_text(expected)} of the default's memory."
    )


def speedup_text(expected: Expectation) -> str:
    return f"{expected.speedup:.2f}x ({expected.low:.2f} to {expected.high:.2f})"


def peak_text(expected: Expectation) -> str:
    low, high = 100 * expected.peak_low, 100 * expected.peak_high
    return f"{100 * expected.peak_ratio:.0f} % ({low:.0f} to {high:.0f})"


def prediction_json(prediction: Proposal | None, evidence: int) -> dict[str, Any]:
    """The stable form; ``studies`` counts the user's own studies that it rests on."""
    expected = prediction.expected if prediction else None
    return {
        "measured": False,
        "config": prediction.config.changes if prediction else None,
        "expected": asdict(expected) if expected else None,
        "studies": evidence,
    }


def prediction_table(prediction: Proposal, sources: str) -> Listing:
    """The config and what is expected of it, and from what."""
    expected = prediction.expected
    assert expected is not None
    rows = (
        Row(("config",), prediction.config.describe()),
        Row(("speed-up",), f"{speedup_text(expected)} over the default"),
        Row(("peak memory",), f"{peak_text(expected)} of the default's"),
        Row(("chance to work",), f"{100 * expected.feasible:.0f} %"),
        Row(("from",), sources),
    )
    return Listing(rows, caption="Expected, not measured. To measure it: tune run.")
