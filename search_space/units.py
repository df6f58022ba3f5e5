"""Sizes and durations as people write them."""

from __future__ import annotations

import re

from search_space.errors import UsageError

# Powers of ten and of two, as the IEC names them.
SIZE_BYTES = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}

# The units of a duration, in seconds.
DURATION_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_size(text: str) -> int:
    """Bytes of ``8GiB``, ``8GB`` or ``512 MiB``; raises UsageError on anything else and on zero."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", text.lower())
    unit_bytes = SIZE_BYTES.get(match[2]) if match else None
    if match is None or unit_bytes is None:
        raise UsageError(f"{text!r} is not a size: write it as 8GiB, 8GB or 512MiB")
    size_bytes = int(float(match[1]) * unit_bytes)
    if size_bytes == 0:
        raise UsageError(f"a size of {text!r} leaves no memory at all: give at least 1MiB")
    return size_bytes


def format_size(size_bytes: int) -> str:
    """GiB with two decimals, or whole MiB below one GiB."""
    if size_bytes >= 2**30:
        return f"{size_bytes / 2**30:.2f} GiB"
    return f"{size_bytes / 2**20:.0f} MiB"


def parse_duration(text: str) -> float:
    """Seconds of ``500ms``, ``90s``, ``1h30m`` or a bare number of seconds; raises UsageError."""
    compact = text.strip().lower().replace(" ", "")
    if re.fullmatch(r"\d+(\.\d+)?", compact):
        compact += "s"
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[smh])", compact)
    duration_s = sum(float(number) * DURATION_S[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != compact or duration_s == 0:
        raise UsageError(f"{text!r} is not a duration: write it as 90s, 30m or 1h30m")
    return duration_s


def format_duration(duration_s: float) -> str:
    """The shortest honest form: ``48 ms``, ``4.73 s``, ``12m 08s``."""
    if duration_s < 0.9995:  # from here on, three digits round to 1000 ms
        return f"{duration_s * 1000:.3g} ms"
    if duration_s < 100:
        return f"{duration_s:.3g} s"
    minutes, seconds = divmod(round(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {seconds:02}s"
