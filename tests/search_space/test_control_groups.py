from __future__ import annotations

from pathlib import Path

import pytest

from search_space.hardware.control_groups import memory_left, memory_limit
from search_space.hardware.detect import usable_host_bytes

WITHOUT = 9223372036854771712


@pytest.fixture
def process(tmp_path: Path) -> Path:
    """A process as ``/proc`` shows it, with a version 2 and a version 1 mount beside it."""
    (tmp_path / "mounts").write_text(
        f"tmpfs /sys/fs/cgroup tmpfs rw 0 0\n"
        f"cgroup2 {tmp_path}/second cgroup2 rw 0 0\n"
        f"cgroup {tmp_path}/cpu cgroup rw,cpu 0 0\n"
        f"cgroup {tmp_path}/first cgroup rw,relatime,memory 0 0\n"
    )
    return tmp_path


def limit(mount: Path, group: str, text: object) -> None:
    version = {"second": "memory.max", "first": "memory.limit_in_bytes", "cpu": "memory.max"}
    (mount / group).mkdir(parents=True, exist_ok=True)
    (mount / group / version[mount.name]).write_text(f"{text}\n")


def test_the_lowest_of_a_group_and_its_parents_holds(process):
    (process / "cgroup").write_text("0::/slice/service\n")
    limit(process / "second", "slice/service", "max")
    assert memory_limit(process) is None
    limit(process / "second", "slice", 2**33)
    assert memory_limit(process) == 2**33
    limit(process / "second", "slice/service", 2**32)
    assert memory_limit(process) == 2**32


def test_the_first_version_is_read_too(process):
    (process / "cgroup").write_text("5:cpu:/elsewhere\n4:cpuacct,memory:/docker/1\n0::/\n")
    limit(process / "first", "docker/1", 2**31)
    limit(process / "first", "", WITHOUT)
    limit(process / "cpu", "elsewhere", 1)
    assert memory_limit(process) == 2**31


def held(mount: Path, group: str, held_bytes: int, dropped_bytes: int) -> None:
    first = mount.name == "first"
    counter = "memory.usage_in_bytes" if first else "memory.current"
    (mount / group / counter).write_text(f"{held_bytes}\n")
    line = "total_inactive_file" if first else "inactive_file"
    (mount / group / "memory.stat").write_text(f"anon 1\n{line} {dropped_bytes}\n")


def test_what_is_left_is_the_limit_less_what_the_kernel_cannot_drop(process):
    (process / "cgroup").write_text("4:memory:/docker/1\n0::/slice/service\n")
    assert memory_left(process) is None
    limit(process / "second", "slice", 2**33)
    limit(process / "second", "slice/service", "max")
    held(process / "second", "slice", 2**32, 2**30)
    assert memory_left(process) == 2**33 - 2**32 + 2**30
    limit(process / "first", "docker/1", 2**32)
    held(process / "first", "docker/1", 2**31, 0)
    assert memory_left(process) == 2**31


def test_a_container_that_sees_its_group_as_the_root(process):
    (process / "cgroup").write_text("4:memory:/docker/1\n")
    limit(process / "first", "", 2**30)
    assert memory_limit(process) == 2**30


def test_where_there_are_no_groups_there_is_no_limit(tmp_path):
    assert memory_limit(tmp_path) is None
    assert usable_host_bytes() > 2**29
