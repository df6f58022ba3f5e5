"""Reasons that several knobs share: each answers None or the sentence that says why not."""

from __future__ import annotations

import shutil

from search_space.knob import Context, Need


def installed(package: str, extra: str) -> Need:
    """The package must be installed; ``extra`` is the one of ours that brings it."""

    def need(context: Context) -> str | None:
        """The package must be installed."""
        if package in context.machine.packages:
            return None
        return f"{package} is not installed: pip install 'diffusers-autotune[{extra}]'"

    return need


def device(*kinds: str, what: str) -> Need:
    """The machine's device must be one of ``kinds``."""

    def need(context: Context) -> str | None:
        """The device must be one of those that the choice is made for."""
        if context.machine.device in kinds:
            return None
        return (
            f"{what} needs {' or '.join(kinds)}; this machine's device is {context.machine.device}"
        )

    return need


def not_device(kind: str, reason: str) -> Need:
    """The machine's device must not be ``kind``."""

    def need(context: Context) -> str | None:
        """The device must not be the one that the choice excludes."""
        return reason if context.machine.device == kind else None

    return need


def probe(name: str) -> Need:
    """The probe of that name must have worked on this machine."""

    def need(context: Context) -> str | None:
        """The probe must have worked on this machine."""
        return context.machine.probes.get(name, f"{name} was not tried on this machine")

    return need


def seven_bits(context: Context) -> str | None:
    """On an x86 CPU without VNNI the weights keep to 7 bits: sums of 8-bit products saturate."""
    if not context.machine.int8_saturates:
        return None
    return "in the reduced range (7 bits), as this CPU has no VNNI"


def cpp_compiler(context: Context) -> str | None:
    """Inductor needs a C++ compiler on a CPU."""
    if context.machine.device != "cpu" or any(map(shutil.which, ("g++", "clang++", "c++"))):
        return None
    return "torch.compile needs a C++ compiler on a CPU: install g++"


def remote_code(context: Context) -> str | None:
    """The user must allow code from the Hub to be run."""
    if context.allow_remote_code:
        return None
    return "its kernel is fetched from the Hub and run: give --allow-remote-code"


def lossy_steps(context: Context) -> str | None:
    """The user must allow another image to be made."""
    if context.allow_lossy:
        return None
    return "it makes another image by design: give --allow-lossy"


def linux(context: Context) -> str | None:
    """The system must be Linux."""
    if context.machine.system.startswith("Linux"):
        return None
    return f"it is made for Linux; this system is {context.machine.system}"


def nvidia(what: str) -> Need:
    """The GPU must be one of NVIDIA, not one of AMD, which torch calls cuda as well."""

    def need(context: Context) -> str | None:
        """The GPU must be one of NVIDIA."""
        if context.machine.device == "cuda" and context.machine.rocm:
            return f"{what} needs a GPU of NVIDIA; this is one of AMD"
        return device("cuda", what=what)(context)

    return need


def amd(what: str) -> Need:
    """The GPU must be one of AMD, which torch calls cuda as well."""

    def need(context: Context) -> str | None:
        """The GPU must be one of AMD."""
        if context.machine.device == "cuda" and not context.machine.rocm:
            return f"{what} needs a GPU of AMD; this is one of NVIDIA"
        return device("cuda", what=what)(context)

    return need


def accelerator(what: str) -> Need:
    """The device must have memory of its own, apart from the host's."""

    def need(context: Context) -> str | None:
        """The device must have memory of its own, apart from the host's."""
        kind = context.machine.device
        if kind in ("cuda", "xpu", "hpu"):
            return None
        return f"{what} moves models between host and device, and {kind} shares the host's memory"

    return need


def every(*needs: Need) -> Need:
    """All of the needs, in order: the first sentence is the answer."""

    def need(context: Context) -> str | None:
        return next((reason for one in needs if (reason := one(context))), None)

    need.__doc__ = " ".join(one.__doc__ or "" for one in needs)
    return need
