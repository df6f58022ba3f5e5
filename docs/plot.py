"""Draws the picture of the README from a section of docs/results.md: python docs/plot.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

DOCS = Path(__file__).parent
SECTION = "Full-size SD 1.5 on a CPU"
HEADING = (
    "Full-size SD 1.5, 256 x 256 px, 4 steps, on 2 cores of an AMD EPYC: "
    "seconds a call, peak memory"
)

ROW_PX = 52
LABEL_PX = 790
SECOND_PX = 62
WIDTH_PX = 1640
TEXT_PX = 28
MARGIN_PX = 24
TUNED = (31, 119, 180)
RACED = (214, 96, 20)
DEFAULT = (120, 120, 120)


@dataclass(frozen=True)
class Bar:
    """A config with its latency and its peak; ``raced`` where the latency is that of a race."""

    config: str
    latency_s: float
    peak: str
    raced: bool


def bars(page: str) -> list[Bar]:
    """The measured configs of the section, the slowest first."""
    section = page.partition(f"\n## {SECTION}\n")[2].partition("\n## ")[0]
    found: list[Bar] = []
    for row in rows(section):
        seconds = re.fullmatch(r"([\d.]+) s", row.get("latency", ""))
        if seconds:
            config = row["config"].partition(" (")[0]
            raced = "speed-up" in row
            found.append(Bar(config, float(seconds[1]), row["peak memory"], raced))
    return sorted(found, key=lambda bar: -bar.latency_s)


def rows(section: str) -> Iterator[dict[str, str]]:
    """The rows of the section's tables by the names of their columns."""
    head: list[str] = []
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.replace("**", "").strip("|").split("|")]
        if not line.startswith("|"):
            head = []
        elif not head:
            head = cells
        elif not line.startswith("| ---"):
            yield dict(zip(head, cells, strict=True))


def draw(shown: list[Bar]) -> Image.Image:
    """A bar for each config, as long as its call takes."""
    height_px = MARGIN_PX * 2 + ROW_PX * (len(shown) + 2)
    sheet = Image.new("RGB", (WIDTH_PX, height_px), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT_PX)
    pen.text((MARGIN_PX, MARGIN_PX), HEADING, "black", font)
    for place, bar in enumerate(shown, 1):
        top_px = MARGIN_PX + ROW_PX * place + ROW_PX // 3
        label_px = LABEL_PX - pen.textlength(bar.config, font)
        pen.text((label_px, top_px), bar.config, "black", font)
        end_px = LABEL_PX + 16 + bar.latency_s * SECOND_PX
        colour = DEFAULT if bar.config == "baseline" else RACED if bar.raced else TUNED
        pen.rectangle((LABEL_PX + 16, top_px, end_px, top_px + ROW_PX * 2 // 3), colour)
        figures = f"{bar.latency_s:.2f} s, {bar.peak}"
        pen.text((end_px + 10, top_px), figures, "black", font)
    legend = "orange and grey: from races; blue: one trial of the search, a hint"
    pen.text((MARGIN_PX, height_px - MARGIN_PX - TEXT_PX), legend, DEFAULT, font)
    return sheet


if __name__ == "__main__":
    target = DOCS / "images" / "sd15-cpu.png"
    target.parent.mkdir(exist_ok=True)
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    draw(bars(page)).save(target, optimize=True)
