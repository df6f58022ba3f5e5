"""How well each tuned config suits a machine and a size: frozen data in, an order out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from math import log

from search_space.config import packages
from search_space.hardware.detect import KINDS
from search_space.hardware.machine import Machine
from search_space.units import format_size
from search_space.workload import Workload
from tuner.records.tuned import TunedConfig


class Level(IntEnum):
    """How near a config is to what was measured, the nearest first."""

    EXACT = 1
    NEAREST_SIZE = 2
    OTHER_VERSIONS = 3
    OTHER_MACHINE = 4
    AVAILABLE = 5
    DEFAULT = 6

    @property
    def words(self) -> str:
        return WORDS[self]


WORDS = {
    Level.EXACT: "exact match",
    Level.NEAREST_SIZE: "same machine, nearest size",
    Level.OTHER_VERSIONS: "same machine, other versions",
    Level.OTHER_MACHINE: "same device model on another machine",
    Level.AVAILABLE: "another device, whose choices are available here",
    Level.DEFAULT: "the default of diffusers",
}


@dataclass(frozen=True)
class Candidate:
    """A stored config: where it is from, in words, and whether its study chose it."""

    source: str
    tuned: TunedConfig
    won: bool = True


@dataclass(frozen=True)
class Here:
    """A device of this computer: the machine with it, and what is free of its memory now."""

    machine: Machine
    free_bytes: int


@dataclass(frozen=True)
class Wish:
    """What the application asks for; None leaves it to the tuned config."""

    height_px: int | None = None
    width_px: int | None = None
    memory_bytes: int | None = None

    def of(self, workload: Workload) -> Workload:
        """The workload in the size that is asked for."""
        return replace(
            workload,
            height_px=self.height_px or workload.height_px,
            width_px=self.width_px or workload.width_px,
        )


@dataclass(frozen=True)
class Match:
    """A candidate beside a device of this computer: how near it is, and what keeps it away.

    ``too_large`` says why its memory does not suit, ``missing`` which package is not installed.
    """

    candidate: Candidate
    device: str
    level: Level
    reasons: tuple[str, ...] = ()
    too_large: str | None = None
    missing: str | None = None
    distance: float = 0.0

    @property
    def is_exact(self) -> bool:
        return self.level is Level.EXACT and self.too_large is None and self.missing is None

    @property
    def why(self) -> str:
        """What differs, in words."""
        return "; ".join([*self.reasons, *filter(None, [self.missing, self.too_large])])


def ordered(
    candidates: Sequence[Candidate], here: Mapping[str, Here], wish: Wish, device: str | None = None
) -> tuple[Match, ...]:
    """A match of every candidate, the best first; ``here`` has a device of each kind.

    What needs more memory than there is comes last, the smallest first. Where no size is asked for
    the newest of equally good ones is taken, otherwise the one with the higher speed-up.
    """
    matches = [match(candidate, here, wish, device) for candidate in candidates]
    newest_first = sorted(matches, key=lambda each: each.candidate.tuned.created_at, reverse=True)
    sized = wish.height_px is not None or wish.width_px is not None

    def place(found: Match) -> tuple[float, ...]:
        tuned = found.candidate.tuned
        peak_bytes = tuned.tuned.get("peak_bytes") or 0
        return (
            found.missing is not None,
            found.too_large is not None,
            peak_bytes if found.too_large else 0,
            found.level,
            KINDS.index(found.device),
            not found.candidate.won,
            found.distance,
            -(tuned.speedup or 1.0) if sized or not found.candidate.won else 0,
        )

    return tuple(sorted(newest_first, key=place))


def match(
    candidate: Candidate, here: Mapping[str, Here], wish: Wish, device: str | None = None
) -> Match:
    """How near a candidate is to its kind of device here, to ``device``, or to the best one."""
    tuned = candidate.tuned
    wanted = device or tuned.machine.device
    kind = wanted if wanted in here else next(kind for kind in KINDS if kind in here)
    place = here[kind]
    hardware = other_hardware(tuned.machine, place.machine)
    versions, missing = other_versions(tuned, place.machine)
    distance, size = other_size(tuned.workload, wish)
    level = Level.EXACT
    if size:
        level = Level.NEAREST_SIZE
    if versions:
        level = Level.OTHER_VERSIONS
    if hardware:
        level = Level.OTHER_MACHINE
    if not same_device(tuned.machine, place.machine) or not candidate.won:
        level = Level.AVAILABLE
    return Match(
        candidate,
        kind,
        level,
        (*hardware, *versions, *size),
        too_large(tuned, place, wish),
        missing,
        distance,
    )


def same_device(tuned: Machine, machine: Machine) -> bool:
    """Whether two machines have the same model of a device."""
    return (tuned.device, tuned.device_name) == (machine.device, machine.device_name)


def other_hardware(tuned: Machine, machine: Machine) -> tuple[str, ...]:
    """What differs of the hardware that times depend on, in words."""
    if not same_device(tuned, machine):
        there, this = (f"{each.device_name} ({each.device})" for each in (tuned, machine))
        return (f"tuned on {there}, this is {this}",)
    differences = []
    # Kernels count it a little differently.
    if round(tuned.device_bytes / 2**30) != round(machine.device_bytes / 2**30):
        there, this = format_size(tuned.device_bytes), format_size(machine.device_bytes)
        differences.append(f"tuned with {there} of memory, this has {this}")
    if tuned.cores != machine.cores:
        differences.append(f"tuned on {tuned.cores} cores, this has {machine.cores}")
    if tuned.system != machine.system:
        differences.append(f"tuned on {tuned.system}, this is {machine.system}")
    return tuple(differences)


def other_versions(tuned: TunedConfig, machine: Machine) -> tuple[tuple[str, ...], str | None]:
    """Which versions of what the config uses differ, and which package is not there at all."""
    there, here = tuned.machine.packages, machine.packages
    used = [name for name in packages(tuned.config) if name in there]
    differences = tuple(
        f"tuned with {name} {there[name]}, this is {here[name]}"
        for name in used
        if name in here and here[name] != there[name]
    )
    # What torch was built for is no package, and another device than there shows it.
    absent = [name for name in used if name not in here and name not in ("cuda", "rocm")]
    return differences, f"{absent[0]} is not installed here" if absent else None


def other_size(workload: Workload, wish: Wish) -> tuple[float, tuple[str, ...]]:
    """How far the tuned size is from the one asked for, as a sum of logarithms, and in words."""
    pairs = [(wish.height_px, workload.height_px), (wish.width_px, workload.width_px)]
    asked = [(wanted, tuned) for wanted, tuned in pairs if wanted is not None]
    if all(wanted == tuned for wanted, tuned in asked):
        return 0.0, ()
    # What was tuned without a size was tuned in the pipeline's own: it may be any.
    distance = sum(abs(log(wanted / tuned)) if tuned else 1.0 for wanted, tuned in asked)
    return distance, (f"tuned for {size_of(workload)}, asked for {size_of(wish.of(workload))}",)


def size_of(workload: Workload) -> str:
    """Width and height in pixels."""
    if not (workload.height_px and workload.width_px):
        return "the default size"
    return f"{workload.width_px}x{workload.height_px}"


def too_large(tuned: TunedConfig, here: Here, wish: Wish) -> str | None:
    """Why the memory that was measured is more than asked for or free, or None."""
    peak_bytes = tuned.tuned.get("peak_bytes")
    if not isinstance(peak_bytes, int):
        return None
    limit = wish.memory_bytes
    if limit is not None and peak_bytes > limit:
        return f"needs {format_size(peak_bytes)}, memory= allows {format_size(limit)}"
    if peak_bytes > here.free_bytes:
        return f"needs {format_size(peak_bytes)}, {format_size(here.free_bytes)} is free now"
    return None
