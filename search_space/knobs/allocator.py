"""What gives out memory in the place of the C library; loaded before the process starts."""

from __future__ import annotations

import os
import warnings

from search_space.build import Build
from search_space.knob import Choice, Probe, Stage, knob
from search_space.needs import device, every, linux, probe

ALLOCATORS = {
    "tcmalloc": ("tcmalloc_minimal", "libtcmalloc-minimal4"),
    "jemalloc": ("jemalloc", "libjemalloc2"),
}
"""The library of each allocator and the package of Debian that brings it."""


def allocator_library(choice: str) -> str | None:
    """The file that the loader finds, or None."""
    from ctypes.util import find_library

    return find_library(ALLOCATORS[choice][0])


def preloaded(choice: str) -> dict[str, str]:
    """The variable by which the allocator is loaded ahead of what is so already."""
    libraries = (allocator_library(choice), os.environ.get("LD_PRELOAD"))
    return {"LD_PRELOAD": ":".join(filter(None, libraries))}


def allocator_probe(choice: str) -> Probe:
    """A probe for the library of an allocator."""

    def library_installed(device: str, head_size: int) -> str | None:
        library, package = ALLOCATORS[choice]
        if allocator_library(choice):
            return None
        return f"the library {library} is not installed: apt install {package}"

    return library_installed


def is_loaded(choice: str) -> bool:
    try:
        with open("/proc/self/maps", encoding="utf-8") as file:
            return any(choice in line for line in file)
    except OSError:
        return False


def allocator_effect(build: Build, choice: str) -> str | None:
    return None if is_loaded(choice) else f"the process runs without {choice}"


@knob(
    Stage.ENVIRONMENT,
    choices=(
        Choice("system"),
        *(
            Choice(
                choice,
                need=every(device("cpu", what="another allocator"), linux, probe(choice)),
                environment=preloaded,
            )
            for choice in ALLOCATORS
        ),
    ),
    effect=allocator_effect,
    probes={choice: allocator_probe(choice) for choice in ALLOCATORS},
    run_on=("cpu",),
)
def allocator(build: Build, choice: str) -> None:
    """Memory given out by tcmalloc or jemalloc, which keep what is freed for the next call."""
    if not is_loaded(choice):
        library = allocator_library(choice) or f"lib{ALLOCATORS[choice][0]}.so"
        warnings.warn(
            f"this was tuned with {choice}: start Python with LD_PRELOAD={library} to have it",
            stacklevel=2,
        )
