"""Needs that several knobs share, and functions that make and join needs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable

from search_space.knob import Context, Need, nothing


def need(
    what: str, *, packages: Iterable[str] = (), probes: Iterable[str] = ()
) -> Callable[[Callable[[Context], str | None]], Need]:
    """Make the decorated function a need for ``what``: it gives None, or says why that is missing.

    Used as ``@need("a single denoiser")``; ``what`` goes on after the word "needs".
    """

    def declare(missing: Callable[[Context], str | None]) -> Need:
        return Need(what, missing, packages=tuple(packages), probes=tuple(probes))

    return declare


def every(*needs: Need) -> Need:
    """All of the needs, in order: the first that is missing is the answer."""
    parts = tuple(part for joined in needs for part in joined.each if part is not nothing)
    if len(parts) < 2:
        return parts[0] if parts else nothing

    def first_missing(context: Context) -> str | None:
        return next((reason for part in parts if (reason := part(context))), None)

    return Need(listed(part.what for part in parts), first_missing, parts)


def listed(words: Iterable[str], joint: str = "and") -> str:
    """The words as a phrase, without repeats: "cuda, Linux and 8 steps or more"."""
    *before, last = dict.fromkeys(words)
    return f"{', '.join(before)} {joint} {last}" if before else last


def installed(package: str, extra: str) -> Need:
    """The package; ``extra`` is the one of ours that brings it."""

    @need(f"the package {package} (extra: {extra})", packages=[package])
    def package_installed(context: Context) -> str | None:
        if package in context.machine.packages:
            return None
        return f"{package} is not installed: pip install 'diffusers-autotune[{extra}]'"

    return package_installed


def device(*kinds: str, what: str = "it") -> Need:
    """A device of one of the kinds; ``what`` is the subject of the answer where it is another."""

    named = listed(kinds, "or")

    @need(named)
    def device_of_a_kind(context: Context) -> str | None:
        kind = context.machine.device
        if kind in kinds:
            return None
        return f"{what} needs {named}; this machine's device is {kind}"

    return device_of_a_kind


def not_device(kind: str, reason: str) -> Need:
    """Any device but one; ``reason`` is the answer there."""

    @need(f"a device other than {kind}")
    def another_device(context: Context) -> str | None:
        return reason if context.machine.device == kind else None

    return another_device


def probe(name: str, *packages: str) -> Need:
    """A probe of that name which worked on this machine, with what the packages bring."""

    @need(f"the probe {name}", packages=packages, probes=[name])
    def probe_worked(context: Context) -> str | None:
        return context.machine.probes.get(name, f"{name} was not tried on this machine")

    return probe_worked


def seven_bits(context: Context) -> str | None:
    """On an x86 CPU without VNNI the weights keep to 7 bits: sums of 8-bit products saturate."""
    if not context.machine.int8_saturates:
        return None
    return "in the reduced range (7 bits), as this CPU has no VNNI"


@need("a C++ compiler on a CPU")
def cpp_compiler(context: Context) -> str | None:
    if context.machine.device != "cpu" or any(map(shutil.which, ("g++", "clang++", "c++"))):
        return None
    return "torch.compile needs a C++ compiler on a CPU: install g++"


@need("--allow-remote-code")
def remote_code(context: Context) -> str | None:
    if context.allow_remote_code:
        return None
    return "its kernel is fetched from the Hub and run: give --allow-remote-code"


@need("--allow-lossy")
def lossy_steps(context: Context) -> str | None:
    if context.allow_lossy:
        return None
    return "it makes another image by design: give --allow-lossy"


@need("Linux")
def linux(context: Context) -> str | None:
    if context.machine.system.startswith("Linux"):
        return None
    return f"it is made for Linux; this system is {context.machine.system}"


def nvidia(what: str) -> Need:
    """A GPU of NVIDIA, not one of AMD, which torch calls cuda as well."""

    @need("a GPU of NVIDIA")
    def gpu_of_nvidia(context: Context) -> str | None:
        if context.machine.device == "cuda" and context.machine.rocm:
            return f"{what} needs a GPU of NVIDIA; this is one of AMD"
        return device("cuda", what=what)(context)

    return gpu_of_nvidia


def amd(what: str) -> Need:
    """A GPU of AMD, which torch calls cuda as well."""

    @need("a GPU of AMD")
    def gpu_of_amd(context: Context) -> str | None:
        if context.machine.device == "cuda" and not context.machine.rocm:
            return f"{what} needs a GPU of AMD; this is one of NVIDIA"
        return device("cuda", what=what)(context)

    return gpu_of_amd


def accelerator(what: str) -> Need:
    """A device with memory of its own, apart from the host's."""

    # Its hooks move the models.
    @need("a device with memory of its own", packages=["accelerate"])
    def memory_of_its_own(context: Context) -> str | None:
        kind = context.machine.device
        if kind in ("cuda", "xpu", "hpu"):
            return None
        return f"{what} moves models between host and device, and {kind} shares the host's memory"

    return memory_of_its_own
