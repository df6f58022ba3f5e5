"""What is freed kept by the C library's own allocator, which otherwise gives large blocks back."""

from __future__ import annotations

import sys
import warnings
from typing import Any

from search_space.build import Build
from search_space.knob import Choice, more_choices
from search_space.needs import device, every, linux, probe

M_TRIM_THRESHOLD = -1
"""A parameter of mallopt, by its number in malloc.h."""

M_MMAP_MAX = -4
"""A parameter of mallopt, by its number in malloc.h."""

WITHOUT = "the C library has no mallopt that keeps what is freed: that is glibc's"

BLOCK_BYTES = 64 * 2**20
"""More than the C library keeps by itself, however much was asked for and freed before: the size
from which blocks are given back grows with what is freed, to 32 MiB (mallopt(3))."""


def c_library() -> Any:
    import ctypes

    return ctypes.CDLL(None)


def keep_what_is_freed() -> bool:
    """Give the kernel neither large blocks nor the end of the heap; False where that cannot be."""
    if sys.platform != "linux" or not hasattr(library := c_library(), "mallopt"):
        return False
    return bool(library.mallopt(M_MMAP_MAX, 0)) and bool(library.mallopt(M_TRIM_THRESHOLD, -1))


def mallopt_works(device_name: str, head_size: int) -> str | None:
    """The C library must have mallopt, which is glibc's, and do what it is told."""
    return None if keep_what_is_freed() else WITHOUT


def resident_bytes() -> int:
    """The memory that the kernel has given to this process."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def allocator_kept_effect(build: Build, choice: str) -> str | None:
    """What is freed must stay with the process."""
    import ctypes

    library = c_library()
    library.malloc.restype = ctypes.c_void_p
    block = ctypes.c_void_p(library.malloc(ctypes.c_size_t(BLOCK_BYTES)))
    if not block:
        raise MemoryError(f"{BLOCK_BYTES >> 20} MiB to look at the allocator with are not there")
    ctypes.memset(block, 1, BLOCK_BYTES)
    held_bytes = resident_bytes()
    library.free(block)
    given_back = held_bytes - resident_bytes() > BLOCK_BYTES // 2
    return "a large block that is freed goes back to the kernel" if given_back else None


@more_choices(
    "allocator",
    choices=(
        Choice(
            "system-kept",
            need=every(device("cpu", what="keeping what is freed"), linux, probe("mallopt")),
        ),
    ),
    effect=allocator_kept_effect,
    probes={"mallopt": mallopt_works},
    run_on=("cpu",),
)
def allocator_kept(build: Build, choice: str) -> None:
    """Memory that is freed kept for the next call, which then need not ask the kernel for it."""
    if not keep_what_is_freed():
        warnings.warn(f"this was tuned with what is freed kept, and here {WITHOUT}", stacklevel=2)
