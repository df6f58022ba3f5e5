from __future__ import annotations

import io
from dataclasses import replace

import numpy
import pytest
from PIL import Image

from tests.tuner.test_emit import tuned
from tuner.measuring.fidelity.outputs import Output, Reference, pictures, write_arrays
from tuner.report.contact_sheet import Row, amplification, contact_sheet, heading_of, read_rows

CONFIG = {"precision": "bf16"}


@pytest.fixture
def kept(tmp_path):
    """Writes a reference and the pictures of what is a little off, and gives both files."""

    def write(*images, off=0.02):
        reference, shown = tmp_path / "reference.npz", tmp_path / "shown.npz"
        Reference(tuple(Output(image) for image in images), {}).write(reference)
        write_arrays(shown, pictures([Output(image + off) for image in images]))
        return reference, shown

    return write


def noise(*shape):
    return 0.9 * numpy.random.default_rng(0).random(shape).astype(numpy.float32)


def test_a_sheet_shows_both_and_the_amplified_difference_of_every_prompt(kept):
    image = noise(1, 64, 64, 3)
    made = contact_sheet(tuned(CONFIG), *kept(image, image[:, ::-1]))
    sheet = numpy.asarray(Image.open(io.BytesIO(made)))
    # A difference of 0.02 is 5 or 6 of 255, which is seen 32 times as large.
    amplified = numpy.isin(sheet[:, 560:816], (5 * 32, 6 * 32)).all(axis=-1)
    # Some of the grey of its letters is the same.
    assert amplified.sum() == pytest.approx(2 * 256 * 256, abs=50)
    first = numpy.round(image[0] * 255).astype(numpy.uint8).repeat(4, axis=0).repeat(4, axis=1)
    windows = [sheet[top : top + 256, 16:272] for top in range(sheet.shape[0] - 255)]
    assert any(numpy.array_equal(window, first) for window in windows)


def test_a_row_names_its_prompt_and_how_alike_it_is(kept):
    reference, shown = kept(noise(1, 32, 32, 3), noise(1, 32, 32, 3))
    first, second = read_rows(tuned(CONFIG), Reference.read(reference), shown)
    assert first.label.startswith("“a photograph of an astronaut riding a horse”: in 8 bits PSNR 3")
    assert "a bowl of fruit" in second.label
    assert "SSIM 0.9" in second.label


def test_of_a_video_a_row_names_its_frame(kept):
    reference, shown = kept(noise(1, 9, 32, 32, 3))
    rows = read_rows(tuned(CONFIG), Reference.read(reference), shown)
    places = [row.label.partition(":")[0].rpartition(", ")[2] for row in rows]
    assert places == ["first frame", "middle frame", "last frame"]


def test_a_trial_known_by_one_prompt_has_rows_of_that_alone(kept):
    reference, shown = kept(noise(1, 32, 32, 3))
    Reference((Output(noise(1, 32, 32, 3)),) * 2, {}).write(reference)
    assert len(read_rows(tuned(CONFIG), Reference.read(reference), shown)) == 1


@pytest.mark.parametrize(("off", "factor"), [(0, 64), (1, 64), (5, 32), (60, 4), (200, 1)])
def test_differences_are_amplified_until_they_can_be_seen(off, factor):
    dark = numpy.zeros((16, 16, 3), dtype=numpy.uint8)
    assert amplification([Row("", dark, dark + numpy.uint8(off))]) == factor


def test_what_cannot_be_shown_has_no_sheet(kept, tmp_path):
    reference, shown = kept(noise(1, 32, 32, 3))
    assert contact_sheet(tuned({}), reference, shown) is None
    assert contact_sheet(tuned(CONFIG), reference, tmp_path / "lost.npz") is None
    assert contact_sheet(tuned(CONFIG), tmp_path / "lost.npz", shown) is None


def test_the_heading_says_how_alike_the_trial_was_or_that_it_was_not_compared():
    winner = tuned(CONFIG)
    alike = {**winner.tuned, "psnr_db": 42.04, "ssim": 0.99123, "tier": "lossless"}
    assert heading_of(replace(winner, tuned=alike)) == [
        "model on a described machine",
        "precision=bf16",
        "worst of all, unrounded: PSNR 42.0 dB, SSIM 0.9912, measured as lossless",
    ]
    other = {**winner.tuned, "psnr_db": None}
    assert "not compared" in heading_of(replace(winner, tuned=other))[-1]
