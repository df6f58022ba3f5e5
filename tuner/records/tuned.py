"""The winner with its evidence, as it is written to and read from ``config.json``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from search_space.config import Config
from search_space.errors import UsageError
from search_space.foreign import Plain, read_object, typed
from search_space.hardware.detect import KINDS
from search_space.hardware.machine import Machine
from search_space.workload import Workload

SCHEMA_VERSION = 1
"""Of `config.json`; counted up where reading an older file by today's rules would get it wrong."""

CONFIG = "config.json"

SCRIPT = "load.py"

UNFINISHED = ".tuned-"
"""How the name of a folder begins in which a run puts its files before they replace older ones; it
ends with the digest of the ``load.py``."""

CONTACT_SHEET = "contact_sheet.png"
"""The images of baseline and tuned config side by side, beside ``config.json``."""


@dataclass(frozen=True)
class TunedConfig:
    """A config, what it was measured on, and its figures beside the baseline's.

    ``config`` names what differs from the baseline. ``folder`` is where the model's files lay. The
    speed-up is the baseline's latency over the tuned one's in the race, with the bounds of its 95 %
    interval; it is None where there was no race. ``changes`` says what each change brings.
    ``tuning_s`` is what the trials cost by what it went into, ``paid_back_images`` after how many
    images the tuned config has saved it; None for never. ``spoiled`` says why there is no speed-up
    though there was a race, ``pickled`` that the model's weights are pickles.
    """

    config: Config
    folder: str
    workload: Workload
    machine: Machine
    tuned: Mapping[str, Plain]
    baseline: Mapping[str, Plain] | None
    memory_bytes: int | None
    cache_dir: str
    created_at: str
    host_memory_bytes: int | None = None

    speedup: float | None = None
    speedup_low: float | None = None
    speedup_high: float | None = None
    objective: str = "latency"
    break_even_images: int | None = None
    drift: float = 0.0
    changes: Sequence[Mapping[str, Plain]] = ()
    tuning_s: Mapping[str, float] = field(default_factory=dict)
    paid_back_images: int | None = None
    spoiled: str | None = None
    pickled: bool = False

    def to_json(self) -> dict[str, Any]:
        """The content of ``config.json``."""
        facts = asdict(self)
        facts["config"] = self.config.changes
        software = facts["machine"].pop("packages")
        return {"schema_version": SCHEMA_VERSION, **facts, "software": software}

    @classmethod
    def read(cls, folder: Path) -> TunedConfig:
        """Read an emitted folder; raises UsageError where it is not one of ours."""
        path = config_in(folder)
        try:
            facts = read_object(path)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{path} cannot be read ({error}): give the folder of a run"
            ) from error
        if "schema_version" not in facts:
            raise UsageError(f"{path} was not written by 'tune run': give the folder of a run")
        if facts["schema_version"] != SCHEMA_VERSION:
            raise UsageError(f"{path} has another schema version: upgrade diffusers-autotune")
        if isinstance(facts.get("machine"), dict) and "software" in facts:
            facts["machine"]["packages"] = facts["software"]
        try:
            tuned: TunedConfig = typed(cls, facts)
            if tuned.machine.device not in KINDS:
                raise ValueError(f"machine.device is {tuned.machine.device!r}")
        except ValueError as error:
            raise UsageError(
                f"{path} is damaged ({error}): remove it and run 'tune run' again"
            ) from error
        return tuned


def digest(script: bytes) -> str:
    """By what the files of a run are known to belong to its ``load.py``."""
    return hashlib.blake2b(script, digest_size=16).hexdigest()


def config_in(folder: Path) -> Path:
    """The ``config.json`` that belongs to the folder's ``load.py``.

    A run replaces one after the other. Was it killed between the two, or is it just there, then the
    config of the new ``load.py`` still lies in the unfinished folder.
    """
    script = folder / SCRIPT
    if script.is_file():
        replacing = folder.glob(f"{UNFINISHED}*-{digest(script.read_bytes())}/{CONFIG}")
        return next(replacing, folder / CONFIG)
    return folder / CONFIG
