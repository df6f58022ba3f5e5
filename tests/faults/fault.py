"""A fault, and the row of the table that an injection of it ends in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

COUNTS = ("lost", "twice", "orphans", "left_over", "executed")
"""What shall be nothing after each fault: trials lost and measured twice, processes and files that
stay behind, code of others that was executed."""


@dataclass(frozen=True)
class Fault:
    """``inject`` does it in a lab of its own, which is then examined.

    A ``quick`` one needs no pipeline and is in the tests. ``lacks`` says what this machine has not
    that it needs, or None.
    """

    kind: str
    name: str
    inject: Callable[[Any], None]
    quick: bool = False
    lacks: Callable[[], str | None] = lambda: None


@dataclass(frozen=True)
class Row:
    """What became of a fault: what was counted, how the command ended, and what is ``wrong``."""

    kind: str
    name: str
    exit_code: int | None = None
    said: str = ""
    lost: int = 0
    twice: int = 0
    orphans: int = 0
    left_over: int = 0
    executed: int = 0
    wrong: tuple[str, ...] = ()
    skipped: str | None = None
    took_s: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, left or executed, and all was as expected."""
        return not self.wrong and not any(getattr(self, count) for count in COUNTS)


@dataclass
class Faults:
    """The faults that the modules of this folder declare, in their order."""

    declared: list[Fault] = field(default_factory=list)

    def add(
        self,
        kind: str,
        name: str,
        inject: Callable[[Any], None],
        quick: bool = False,
        lacks: Callable[[], str | None] = lambda: None,
    ) -> None:
        if any((fault.kind, fault.name) == (kind, name) for fault in self.declared):
            raise ValueError(f"{kind}: {name} is declared twice")
        self.declared.append(Fault(kind, name, inject, quick, lacks))

    def fault(
        self,
        kind: str,
        name: str,
        quick: bool = False,
        lacks: Callable[[], str | None] = lambda: None,
    ) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
        """Declare the decorated function as a fault."""

        def declare(inject: Callable[[Any], None]) -> Callable[[Any], None]:
            self.add(kind, name, inject, quick, lacks)
            return inject

        return declare


FAULTS = Faults()
