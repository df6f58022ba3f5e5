from __future__ import annotations

import pytest

from search_space.errors import UsageError
from search_space.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("8GiB", 8 * 2**30),
        ("8GB", 8 * 10**9),
        ("512 MiB", 512 * 2**20),
        ("  1.5 gib ", 3 * 2**29),
        ("1b", 1),
        ("0.5TiB", 2**39),
    ],
)
def test_a_size_is_read_as_bytes(text, size_bytes):
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "8", "GiB", "8 G", "-1GiB", "1e3GB", "8GiB 2MiB", "8,5GB"])
def test_what_is_no_size_is_answered_with_examples(text):
    with pytest.raises(UsageError) as caught:
        parse_size(text)
    assert str(caught.value) == f"{text!r} is not a size: write it as 8GiB, 8GB or 512MiB"


@pytest.mark.parametrize("text", ["0GiB", "0.0001b"])
def test_no_memory_at_all_is_refused(text):
    with pytest.raises(UsageError, match="leaves no memory at all: give at least 1MiB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 MiB"),
        (512 * 2**20, "512 MiB"),
        (2**30, "1.00 GiB"),
        (141 * 2**30 + 2**28, "141.25 GiB"),
    ],
)
def test_a_size_is_written_in_binary_units(size_bytes, text):
    assert format_size(size_bytes) == text


@pytest.mark.parametrize(
    ("text", "duration_s"),
    [
        ("90s", 90),
        ("90", 90),
        ("30m", 1800),
        ("1h30m", 5400),
        (" 1H 30M 5s ", 5405),
        ("1.5h", 5400),
        ("0.5", 0.5),
    ],
)
def test_a_duration_is_read_as_seconds(text, duration_s):
    assert parse_duration(text) == duration_s


@pytest.mark.parametrize("text", ["", "0", "0h0m", "-5s", "5 minutes", "1h30", "nan", "ms"])
def test_what_is_no_duration_is_answered_with_examples(text):
    with pytest.raises(UsageError) as caught:
        parse_duration(text)
    assert str(caught.value) == f"{text!r} is not a duration: write it as 90s, 30m or 1h30m"


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (0.0, "0 ms"),
        (0.00123, "1.23 ms"),
        (0.048, "48 ms"),
        (0.9994, "999 ms"),
        (0.9999, "1 s"),
        (4.731, "4.73 s"),
        (99.4, "99.4 s"),
        (728.0, "12m 08s"),
        (3599.7, "1h 00m"),
        (7500.0, "2h 05m"),
    ],
)
def test_a_duration_is_written_in_its_own_unit(duration_s, text):
    assert format_duration(duration_s) == text
