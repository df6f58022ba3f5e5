"""Tune a diffusers pipeline and load what was tuned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.loader import load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import the loader when it is asked for: ``import tuner`` itself costs nothing."""
    if name == "load":
        from tuner import precedence

        # An application has a right to a ``storage`` of its own.
        precedence.claim("search_space")
        from tuner.loader import load

        return load
    raise AttributeError(f"module 'tuner' has no attribute {name!r}")
