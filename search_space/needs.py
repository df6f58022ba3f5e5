"""Reasons that several knobs share: each answers None or the sentence that says why not."""

from __future__ import annotations

import shutil

from search_space.knob import Context, Need


def installed(package: str, extra: str) -> Need:
    """The package must be installed; ``extra`` is the one of ours that brings it."""

    def need(context: Context) -> str | None:
        if package in context.machine.packages:
            return None
        return f"{package} is not installed: pip install 'diffusers-autotune[{extra}]'"

    return need


def device(*kinds: str, what: str) -> Need:
    """The machine's device must be one of ``kinds``."""

    def need(context: Context) -> str | None:
        if context.machine.device in kinds:
            return None
        return (
            f"{what} needs {' or '.join(kinds)}; this machine's device is {context.machine.device}"
        )

    return need


def not_device(kind: str, reason: str) -> Need:
    """The machine's device must not be ``kind``."""

    def need(context: Context) -> str | None:
        return reason if context.machine.device == kind else None

    return need


def probe(name: str) -> Need:
    """The probe of that name must have worked on this machine."""

    def need(context: Context) -> str | None:
        return context.machine.probes.get(name, f"{name} was not tried on this machine")

    return need


def cpp_compiler(context: Context) -> str | None:
    """Inductor needs a C++ compiler on a CPU."""
    if context.machine.device != "cpu" or any(map(shutil.which, ("g++", "clang++", "c++"))):
        return None
    return "torch.compile needs a C++ compiler on a CPU: install g++"


def every(*needs: Need) -> Need:
    """All of the needs, in order: the first sentence is the answer."""

    def need(context: Context) -> str | None:
        return next((reason for one in needs if (reason := one(context))), None)

    return need
