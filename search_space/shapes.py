"""What a choice makes of a call of another size or batch than the pipeline was built for."""

from __future__ import annotations

from enum import StrEnum


class Shapes(StrEnum):
    """It takes any, compiles again for others, or fails for others."""

    ANY = "any"
    RECOMPILED = "recompiled"
    FIXED = "fixed"
