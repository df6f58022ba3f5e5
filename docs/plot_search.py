"""Draws the curves of docs/search-benchmark.md from what is kept: python docs/plot_search.py."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

from tests.benchmarks.search.kept import KEPT, read  # noqa: E402
from tests.benchmarks.search.page import on_machines_of_most  # noqa: E402
from tests.benchmarks.search.replaying import Curve  # noqa: E402
from tests.benchmarks.search.report import parted  # noqa: E402
from tests.benchmarks.search.strategies import STRATEGIES  # noqa: E402

WIDTH_PX, HEIGHT_PX = 1640, 900
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 110, 260, 90, 110
TEXT_PX = 26
FIRST_S, LAST_S = 60, 10_000
POINTS = 200
GREY = (200, 200, 200)
COLOURS = {
    "random": (120, 120, 120),
    "tpe": (44, 160, 44),
    "gp": (188, 189, 34),
    "descent": (148, 103, 189),
    "smac": (23, 160, 180),
    "botorch": (140, 86, 75),
    "kt-bayes": (227, 119, 194),
    "kt-genetic": (174, 120, 60),
    "kt-ils": (90, 90, 40),
    "ours": (214, 39, 40),
    "ours-alone": (31, 119, 180),
}


def seconds() -> Iterator[float]:
    """Charged seconds at even steps of their logarithm."""
    for point in range(POINTS + 1):
        yield FIRST_S * (LAST_S / FIRST_S) ** (point / POINTS)


def middle(curves: Sequence[Curve], spent_s: float) -> float:
    """The median of the fractions that were reached by then."""
    fractions = sorted(curve.after(spent_s) for curve in curves)
    half = len(fractions) // 2
    return (fractions[half] + fractions[-half - 1]) / 2 if fractions else 0.0


def place(spent_s: float, fraction: float) -> tuple[float, float]:
    """Where a point lies on the sheet."""
    along = math.log(spent_s / FIRST_S) / math.log(LAST_S / FIRST_S)
    across_px = WIDTH_PX - LEFT_PX - RIGHT_PX
    return LEFT_PX + along * across_px, HEIGHT_PX - BOTTOM_PX - fraction * (
        HEIGHT_PX - TOP_PX - BOTTOM_PX
    )


def draw(curves: Sequence[Curve]) -> Image.Image:
    """A line for each strategy, named at its end."""
    sheet = Image.new("RGB", (WIDTH_PX, HEIGHT_PX), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT_PX)
    machines = len({curve.machine for curve in curves})
    heading = f"Fraction of the optimum, median over {machines} synthetic machines"
    pen.text((LEFT_PX, 30), heading, "black", font)
    axes(pen, font)
    ends = []
    for name in STRATEGIES:
        own = [curve for curve in curves if curve.strategy == name]
        if own:
            line = [place(spent_s, middle(own, spent_s)) for spent_s in seconds()]
            pen.line(line, COLOURS[name], 7 if name == "ours" else 4)
            ends.append((line[-1][1], name))
    lowest_px = -math.inf
    for end_px, name in sorted(ends):
        lowest_px = max(end_px - TEXT_PX / 2, lowest_px + TEXT_PX + 4)
        pen.text((WIDTH_PX - RIGHT_PX + 14, lowest_px), name, COLOURS[name], font)
    return sheet


def axes(pen: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> None:
    """Lines at round values."""
    for fraction in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        start, end = place(FIRST_S, fraction), place(LAST_S, fraction)
        pen.line((start, end), GREY, 1)
        pen.text((start[0] - 60, start[1] - TEXT_PX / 2), f"{fraction:.1f}", "black", font)
    for spent_s in (60, 120, 300, 600, 1200, 2400, 4800, 10_000):
        bottom = place(spent_s, 0.0)
        pen.line((bottom, place(spent_s, 1.0)), GREY, 1)
        pen.text((bottom[0] - 22, bottom[1] + 10), f"{spent_s}", "black", font)
    pen.text((LEFT_PX, HEIGHT_PX - 50), "seconds that the trials are charged", "black", font)


if __name__ == "__main__":
    synthetic, _ = parted(read(KEPT).curves)
    draw(on_machines_of_most(synthetic)).save(DOCS / "images" / "search.png", optimize=True)
