"""The budget of a trial: memory, and the fidelity of its image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search_space.knob import Tier


@dataclass(frozen=True)
class Budget:
    """Limits; None does not limit.

    ``memory_bytes`` is for the device, or for the host where there is no other; ``host_bytes`` is
    for the host. Where both are for the host, the smaller holds. ``quality`` is the last tier that
    an image may be measured to be in.
    """

    memory_bytes: int | None = None
    host_bytes: int | None = None
    quality: Tier | None = None

    @property
    def limits_memory(self) -> bool:
        return (self.memory_bytes, self.host_bytes) != (None, None)

    def on_device(self, device: str) -> int | None:
        """The limit for the memory of a device that has its own."""
        return None if device == "cpu" else self.memory_bytes

    def on_host(self, device: str) -> int | None:
        """The limit for the host of a trial on ``device``."""
        limits = (self.host_bytes, self.memory_bytes if device == "cpu" else None)
        return min((limit for limit in limits if limit is not None), default=None)

    def covers(self, other: Budget) -> bool:
        """Whether ``other`` allows no more memory than this one."""
        pairs = (
            (self.memory_bytes, other.memory_bytes),
            (self.host_bytes, other.host_bytes),
        )
        return all(
            own_bytes is None or (other_bytes is not None and other_bytes <= own_bytes)
            for own_bytes, other_bytes in pairs
        )

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Budget:
        """The inverse of ``dataclasses.asdict``."""
        return cls(**{**facts, "quality": Tier(facts["quality"]) if facts["quality"] else None})


UNLIMITED = Budget()
"""Whatever it takes."""
