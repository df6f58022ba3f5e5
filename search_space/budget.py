"""The most memory that a trial may hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """Limits in bytes; None does not limit.

    ``memory_bytes`` is for the device, or for the host where there is no other; ``host_bytes`` is
    for the host. Where both are for the host, the smaller holds.
    """

    memory_bytes: int | None = None
    host_bytes: int | None = None

    def on_device(self, device: str) -> int | None:
        """The limit for the memory of a device that has its own."""
        return None if device == "cpu" else self.memory_bytes

    def on_host(self, device: str) -> int | None:
        """The limit for the host of a trial on ``device``."""
        limits = (self.host_bytes, self.memory_bytes if device == "cpu" else None)
        return min((limit for limit in limits if limit is not None), default=None)

    def covers(self, other: Budget) -> bool:
        """Whether ``other`` allows nothing that this one does not."""
        pairs = (
            (self.memory_bytes, other.memory_bytes),
            (self.host_bytes, other.host_bytes),
        )
        return all(mine is None or (its is not None and its <= mine) for mine, its in pairs)


UNLIMITED = Budget()
"""Whatever it takes."""
