"""The memory that the control groups of Linux leave to this process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

# By version of the control groups, as it is called where they are mounted.
LIMITS = {"cgroup2": "memory.max", "cgroup": "memory.limit_in_bytes"}
HELD = {"cgroup2": "memory.current", "cgroup": "memory.usage_in_bytes"}
DROPPED = {"cgroup2": "inactive_file", "cgroup": "total_inactive_file"}
"""What the kernel takes back before it kills, of what is held: a line of ``memory.stat``."""


def memory_limit(process: Path = Path("/proc/self")) -> int | None:
    """The lowest limit of the groups that this process is in and of their parents, or None.

    A container may see its own group as the root of the mount, under another path than the
    kernel's: so the root is always looked at.
    """
    return min((limit_bytes for _, _, limit_bytes in _limited(process)), default=None)


def memory_left(process: Path = Path("/proc/self")) -> int | None:
    """The least that these groups still allow, None without a limit."""
    rests_bytes = []
    for kind, place, limit_bytes in _limited(process):
        with contextlib.suppress(OSError, ValueError):
            used_bytes = int((place / HELD[kind]).read_text())
            stat = dict(line.split() for line in (place / "memory.stat").read_text().splitlines())
            rests_bytes.append(limit_bytes - used_bytes + int(stat.get(DROPPED[kind], 0)))
    return min(rests_bytes, default=None)


def _limited(process: Path) -> Iterator[tuple[str, Path, int]]:
    """The kind, the folder and the limit of each group that has one."""
    for kind, mount, group in _groups(process):
        parents = [PurePosixPath(group), *PurePosixPath(group).parents]
        for place in {mount / str(parent).lstrip("/") for parent in parents}:
            # A group without a limit says "max", in the first version a number beyond all memory.
            with contextlib.suppress(OSError, ValueError):
                yield kind, place, int((place / LIMITS[kind]).read_text())


def _groups(process: Path) -> Iterator[tuple[str, Path, str]]:
    """The kind, the mount and the path of each group that counts memory."""
    try:
        mounts = (process / "mounts").read_text().splitlines()
        lines = (process / "cgroup").read_text().splitlines()
    except OSError:
        return
    for _, where, kind, flags, *_ in (line.split() for line in mounts):
        for _, controllers, group in (line.split(":", 2) for line in lines):
            second = kind == "cgroup2" and controllers == ""
            first = kind == "cgroup" and "memory" in controllers.split(",")
            if second or (first and "memory" in flags.split(",")):
                yield kind, Path(where), group
