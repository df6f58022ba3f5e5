"""The contract of a knob."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum

from search_space.build import Build
from search_space.hardware.machine import Machine
from search_space.pipeline.spec import PipelineSpec
from search_space.shapes import Shapes
from search_space.verified import VERIFIED
from search_space.workload import Workload


class Stage(IntEnum):
    """When a knob acts on the pipeline in the making."""

    ENVIRONMENT = 0
    CALL = 1
    LOAD = 2
    SCHEDULER = 3
    FUSE = 4
    QUANTIZE = 5
    CASTING = 6
    ATTENTION = 7
    VAE = 8
    CACHE = 9
    PLACEMENT = 10
    MEMORY_FORMAT = 11
    ENGINE = 12


class Tier(StrEnum):
    """How far a choice may move the image from the baseline's."""

    EXACT = "exact"
    LOSSLESS = "lossless"
    NEAR = "near"
    LOSSY = "lossy"

    def allows(self, other: Tier) -> bool:
        """Whether a choice of the ``other`` tier moves the image no further than this one."""
        order = list(Tier)
        return order.index(other) <= order.index(self)


@dataclass(frozen=True)
class Context:
    """The context in which a choice is available or not: machine, pipeline, workload and limits.

    ``quality`` is the last tier that is searched. ``allow_lossy`` lets knobs change the schedule of
    the steps, ``allow_remote_code`` lets them run code that is fetched from the Hub.
    """

    machine: Machine
    spec: PipelineSpec
    workload: Workload
    quality: Tier = Tier.NEAR
    allow_lossy: bool = False
    allow_remote_code: bool = False


@dataclass(frozen=True)
class Need:
    """What a choice needs, in words, and why that is missing on a machine or for a pipeline.

    ``what`` follows the word "needs": "cuda", "8 steps or more". ``missing`` gives None where it is
    there, otherwise the sentence that says why not. ``parts`` are the needs that this one joins.
    ``packages`` are those whose versions it is met by, ``probes`` those that it asks for.
    """

    what: str
    missing: Callable[[Context], str | None]
    parts: tuple[Need, ...] = ()
    packages: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()

    def __call__(self, context: Context) -> str | None:
        return self.missing(context)

    @property
    def sentence(self) -> str:
        return f"needs {self.what}"

    @property
    def each(self) -> tuple[Need, ...]:
        """The needs that join no others, in the order in which they are checked."""
        return tuple(need for part in self.parts for need in part.each) or (self,)

    def unmet(self, context: Context) -> Need | None:
        """The first of ``each`` that is missing here: unavailable choices are grouped by it."""
        return next((need for need in self.each if need(context)), None)


Note = Callable[[Context], "str | None"]
"""None, or the sentence that says what is different about the choice on this machine."""

PARTS = ("text_encoding", "step", "decode")
"""The parts of a pipeline call, as trials time them."""

STEP = ("step",)
DECODE = ("decode",)

Apply = Callable[[Build, str], None]
Effect = Callable[[Build, str], "str | None"]
"""None where the choice is seen to act, otherwise the sentence that says what was seen."""

Probe = Callable[[str, int], "str | None"]
"""Tries something on a device (``cuda``) at the model's head size; None where it works.

Runs in a process of its own, which it may crash.
"""

Environment = Callable[[str], dict[str, str]]
"""The environment variables that a choice needs before the process starts."""


nothing = Need("nothing", lambda context: None)
"""The need of a choice that is always available."""


def untouched(build: Build, choice: str) -> None:
    """The application of a knob's first choice."""


def unseen(build: Build, choice: str) -> str | None:
    """The effect of a knob's first choice."""
    return None


def as_it_is(choice: str) -> dict[str, str]:
    """The environment of a choice that needs none."""
    return {}


@dataclass(frozen=True)
class Conflict:
    """Choices that do not go with certain choices of another knob, and the reason.

    Declared once, on one side. Empty ``choices`` mean every choice but the first. ``where`` narrows
    it to machines and pipelines that meet a need. ``only``, in place of ``others``, names the
    choices of the other knob that are required.
    """

    knob: str
    others: tuple[str, ...]
    reason: str
    choices: tuple[str, ...] = ()
    where: Need = nothing
    only: tuple[str, ...] = ()

    def between(self, value: str, other_value: str, context: Context) -> str | None:
        """The reason why the two values exclude each other, or None."""
        excluded = other_value not in self.only if self.only else other_value in self.others
        if not excluded or (self.choices and value not in self.choices):
            return None
        return None if self.where(context) else self.reason


def goes_only_with(knob: str, only: tuple[str, ...], reason: str) -> Conflict:
    """The requirement that another knob stands at one of ``only``."""
    return Conflict(knob, (), reason, only=only)


@dataclass(frozen=True)
class Choice:
    """One value of a knob: when it is available, how it acts, how that is seen, what it costs.

    ``run_on`` names the kinds of device on which this project has run it: a CPU by declaration, of
    the choice or of its knob, others by the rows that are kept of them. ``environment`` gives the
    variables that must be set before Python starts. ``note`` gives a sentence where the choice is
    available but acts otherwise on this machine. What makes ``another_image`` by design is not
    compared with the baseline. Where ``steps_differ`` in what they cost, or in how many they are, a
    call is not told from a few of its steps.
    """

    value: str
    need: Need = nothing
    tier: Tier = Tier.EXACT
    apply: Apply = untouched
    effect: Effect = unseen
    conflicts: tuple[Conflict, ...] = ()
    run_on: tuple[str, ...] | None = None
    environment: Environment = as_it_is
    another_image: bool = False
    steps_differ: bool = False
    note: Note = nothing
    shapes: Shapes = Shapes.ANY

    def verified(self, machine: Machine) -> bool:
        """Whether this choice has been run on this kind of device; the first choice counts too."""
        # What torch calls cuda says nothing of a GPU of AMD.
        kind = "rocm" if machine.rocm else machine.device
        return self.apply is untouched or kind in (self.run_on or ())


@dataclass(frozen=True)
class Knob:
    """One optimization: a name, a stage and choices, of which the first leaves all as it is.

    ``parts`` are the parts of a call that it can change the time of: what a search learns about the
    others, it learns whatever this knob does.
    """

    name: str
    stage: Stage
    choices: tuple[Choice, ...]
    doc: str
    probes: Mapping[str, Probe] = field(default_factory=dict)
    parts: tuple[str, ...] = PARTS

    def choice(self, value: str) -> Choice:
        """The choice of that value; raises KeyError."""
        for choice in self.choices:
            if choice.value == value:
                return choice
        raise KeyError(value)

    @property
    def values(self) -> tuple[str, ...]:
        """The values of the choices, in order."""
        return tuple(choice.value for choice in self.choices)


@dataclass(frozen=True)
class MoreChoices:
    """Further choices of a knob that is declared in another file."""

    knob: str
    choices: tuple[Choice, ...]
    doc: str
    probes: Mapping[str, Probe] = field(default_factory=dict)


def knob(
    stage: Stage,
    *,
    choices: tuple[Choice, ...],
    effect: Effect,
    conflicts: tuple[Conflict, ...] = (),
    probes: Mapping[str, Probe] | None = None,
    run_on: tuple[str, ...] = (),
    parts: tuple[str, ...] = PARTS,
) -> Callable[[Apply], Knob]:
    """Make the decorated function a knob: its name, its docs line and how all but the first act."""

    def declare(apply: Apply) -> Knob:
        name = apply.__name__
        acting = acting_choices(name, choices[1:], apply, effect, conflicts, run_on)
        doc = " ".join((apply.__doc__ or "").split())
        return Knob(name, stage, (choices[0], *acting), doc, probes or {}, parts)

    return declare


def more_choices(
    name: str,
    *,
    choices: tuple[Choice, ...],
    effect: Effect,
    conflicts: tuple[Conflict, ...] = (),
    probes: Mapping[str, Probe] | None = None,
    run_on: tuple[str, ...] = (),
    shapes: Shapes = Shapes.ANY,
) -> Callable[[Apply], MoreChoices]:
    """Make the decorated function further choices of the knob ``name``."""

    def declare(apply: Apply) -> MoreChoices:
        acting = acting_choices(name, choices, apply, effect, conflicts, run_on, shapes)
        return MoreChoices(name, acting, " ".join((apply.__doc__ or "").split()), probes or {})

    return declare


def acting_choices(
    name: str,
    choices: tuple[Choice, ...],
    apply: Apply,
    effect: Effect,
    conflicts: tuple[Conflict, ...],
    run_on: tuple[str, ...],
    shapes: Shapes = Shapes.ANY,
) -> tuple[Choice, ...]:
    """The choices of a knob with what their file declares for all, and what rows show of each."""
    return tuple(
        replace(
            choice,
            apply=apply,
            effect=effect,
            shapes=shapes,
            conflicts=choice.conflicts + conflicts,
            run_on=(
                *(run_on if choice.run_on is None else choice.run_on),
                *(kind for kind, shown in VERIFIED.items() if f"{name}={choice.value}" in shown),
            ),
        )
        for choice in choices
    )
