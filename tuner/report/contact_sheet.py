"""The contact sheet: baseline and tuned images side by side, with their difference."""

from __future__ import annotations

import io
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.measuring.fidelity.compare import OTHER_PROMPT
from tuner.measuring.fidelity.metrics import SSIM_SMALLEST_PX, psnr_db, ssim
from tuner.measuring.fidelity.outputs import Reference, to_pictures
from tuner.records.figures import IDENTICAL_DB
from tuner.records.tuned import TunedConfig
from tuner.report.format import latency

if TYPE_CHECKING:
    from PIL.Image import Image

LEAST_SIDE_PX = 256
"""Smaller images are enlarged by a whole number, so that their pixels can be seen."""

GAP_PX = 16
"""Wide enough to tell two images from one, and small beside one of 256 pixels."""

TEXT_PX = 16
"""The size of a browser's text. Larger letters would need more lines."""

LINE_PX = 22
"""A third more than the letters, so that what hangs below one line is clear of the next."""

MOST_AMPLIFIED = 64
"""Then a difference of one step of 255 is a quarter of white: more would show rounding alone."""

# Red, green and blue.
PAPER, INK, FAINT = (255, 255, 255), (20, 20, 20), (110, 110, 110)
PLACES = ("first frame", "middle frame", "last frame")


@dataclass(frozen=True)
class Row:
    """One image or frame as the baseline and as the tuned pipeline made it, in 8 bits."""

    label: str
    baseline: Any
    tuned: Any


def contact_sheet(tuned: TunedConfig, reference: Path, pictures: Path) -> bytes | None:
    """The sheet as PNG; None for the baseline itself, or where the images are no longer there."""
    if tuned.config.is_baseline or not (reference.exists() and pictures.exists()):
        return None
    rows = read_rows(tuned, Reference.read(reference), pictures)
    if not rows:
        return None
    written = io.BytesIO()
    draw(tuned, rows).save(written, "PNG")
    return written.getvalue()


def read_rows(tuned: TunedConfig, reference: Reference, pictures: Path) -> list[Row]:
    """A row for each image that both have."""
    import numpy

    workload = tuned.workload
    prompts = workload.call()["prompt"]
    prompts = prompts if isinstance(prompts, list) else [prompts]
    rows = []
    with numpy.load(pictures, allow_pickle=False) as file:
        for number, output in enumerate(reference.outputs):
            baseline_images = to_pictures(output.images)
            tuned_images = file[str(number)] if str(number) in file else baseline_images[:0]
            prompts_of_output = [OTHER_PROMPT] * len(prompts) if number else prompts
            is_video = output.images.ndim == 5
            for place, (baseline_image, tuned_image) in enumerate(
                zip(baseline_images, tuned_images, strict=False)
            ):
                prompt = prompts_of_output[0 if is_video else place]
                where = f", {PLACES[place]}" if is_video else ""
                rows.append(
                    Row(
                        f"“{prompt}”{where}: {fidelity_text(baseline_image, tuned_image)}",
                        baseline_image,
                        tuned_image,
                    )
                )
    return rows


def fidelity_text(baseline: Any, tuned: Any) -> str:
    """How close the two are as they are shown, in 8 bits."""
    import numpy

    pair = [pixels[None].astype(numpy.float32) / 255 for pixels in (tuned, baseline)]
    pair_psnr_db = psnr_db(*pair)
    if pair_psnr_db >= IDENTICAL_DB:
        return "identical in 8 bits"
    structure = ""
    if min(pair[0].shape[-3:-1]) >= SSIM_SMALLEST_PX:
        structure = f", SSIM {ssim(*pair):.4f}"
    return f"in 8 bits PSNR {pair_psnr_db:.1f} dB{structure}"


def amplification(rows: list[Row]) -> int:
    """The power of two by which differences are multiplied: all but the largest can be seen."""
    import numpy

    largest = max(numpy.percentile(difference(row), 99.9) for row in rows)
    factor = 1
    while factor < MOST_AMPLIFIED and largest * factor * 2 <= 255:
        factor *= 2
    return factor


def difference(row: Row) -> Any:
    import numpy

    return numpy.abs(row.baseline.astype(numpy.int16) - row.tuned)


def draw(tuned: TunedConfig, rows: list[Row]) -> Image:
    """The sheet: a heading, the names of the columns, and a row for each image."""
    from PIL import Image, ImageDraw

    factor = amplification(rows)
    height_px, width_px = enlarged(rows[0].baseline).shape[:2]
    total_px = 3 * width_px + 4 * GAP_PX
    heading = wrapped(heading_of(tuned), total_px)
    row_px = LINE_PX + height_px + GAP_PX
    top_px = GAP_PX + (len(heading) + 1) * LINE_PX + GAP_PX
    sheet = Image.new("RGB", (total_px, top_px + len(rows) * row_px), PAPER)
    pen = ImageDraw.Draw(sheet)
    for line, text in enumerate(heading):
        write(pen, GAP_PX, GAP_PX + line * LINE_PX, text, FAINT if line else INK)
    left_px = [GAP_PX + column * (width_px + GAP_PX) for column in range(3)]
    for x_px, name in zip(left_px, columns(tuned, factor), strict=True):
        write(pen, x_px, top_px - LINE_PX - GAP_PX // 2, name, INK)
    for number, row in enumerate(rows):
        y_px = top_px + number * row_px
        write(pen, GAP_PX, y_px, wrapped([row.label], total_px)[0], FAINT)
        amplified = (difference(row) * factor).clip(0, 255).astype("uint8")
        for x_px, pixels in zip(left_px, (row.baseline, row.tuned, amplified), strict=True):
            sheet.paste(Image.fromarray(enlarged(pixels)), (x_px, y_px + LINE_PX))
    return sheet


def heading_of(tuned: TunedConfig) -> list[str]:
    """The lines above the images: model, config and fidelity."""
    figures = tuned.tuned
    metrics = []
    if figures.get("psnr_db") is not None:
        metrics.append(f"PSNR {figures['psnr_db']:.1f} dB")
    if figures.get("ssim") is not None:
        metrics.append(f"SSIM {figures['ssim']:.4f}")
    if figures.get("lpips") is not None:
        metrics.append(f"LPIPS {figures['lpips']:.3f}")
    if figures.get("tier") is not None:
        metrics.append(f"measured as {figures['tier']}")
    fidelity = ", ".join(metrics) or "another image by design: not compared"
    return [
        f"{tuned.workload.model} on {tuned.machine.device_name}",
        tuned.config.describe(),
        f"worst of all, unrounded: {fidelity}",
    ]


def columns(tuned: TunedConfig, factor: int) -> tuple[str, str, str]:
    """The names of the columns, with the latencies."""
    is_timed = tuned.baseline and tuned.baseline["latency_s"] is not None
    baseline_column = (
        f"baseline, {latency(tuned.baseline)}" if tuned.baseline and is_timed else "baseline"
    )
    faster = f" ({tuned.speedup:.2f}x)" if tuned.speedup else ""
    tuned_column = f"tuned, {latency(tuned.tuned)}{faster}"
    return baseline_column, tuned_column, f"difference x {factor}"


def enlarged(pixels: Any) -> Any:
    """The image with each pixel repeated, where it is small."""
    times = max(1, -(-LEAST_SIDE_PX // min(pixels.shape[:2])))
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


def wrapped(lines: list[str], width_px: int) -> list[str]:
    """The lines, broken where they would leave the sheet."""
    width_chars = max(20, int((width_px - 2 * GAP_PX) / (TEXT_PX * 0.55)))
    return [part for line in lines for part in textwrap.wrap(line, width_chars)]


def write(pen: Any, x_px: int, y_px: int, text: str, colour: tuple[int, int, int]) -> None:
    from PIL import ImageFont

    pen.text((x_px, y_px), text, fill=colour, font=ImageFont.load_default(TEXT_PX))
