"""Names of choices in a table: a dtype that is native to a machine is another choice than one that
is emulated there."""

from __future__ import annotations

from search_space.hardware.machine import Machine

EMULATED = " emulated"
"""Behind the name of a choice in a table: on a machine to which its dtype is not native."""

DTYPES = ("bf16", "fp16")


def is_emulated(machine: Machine, choice: tuple[str, str]) -> bool:
    """Whether the choice computes in a dtype that the machine has no instructions for."""
    return any(dtype in choice[1] and dtype not in machine.native_dtypes for dtype in DTYPES)


def kept_as(machine: Machine, choice: tuple[str, str]) -> tuple[str, str]:
    """The choice by its name in a table."""
    return (choice[0], choice[1] + EMULATED) if is_emulated(machine, choice) else choice


def seen_on(machine: Machine, kept: tuple[str, str]) -> tuple[str, str] | None:
    """The choice of a name in a table; None where it speaks of machines unlike this one."""
    choice = kept[0], kept[1].removesuffix(EMULATED)
    return choice if kept_as(machine, choice) == kept else None
