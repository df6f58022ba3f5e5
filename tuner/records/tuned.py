"""The winner with its evidence, as it is written to and read from ``config.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from search_space.config import Config
from search_space.errors import UsageError
from search_space.hardware.machine import Machine
from search_space.workload import Workload

SCHEMA_VERSION = 1
"""Of `config.json`; counted up where reading an older file by today's rules would get it wrong."""

CONFIG = "config.json"

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
    though there was a race.
    """

    config: Config
    folder: str
    workload: Workload
    machine: Machine
    tuned: Mapping[str, Any]
    baseline: Mapping[str, Any] | None
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
    changes: Sequence[Mapping[str, Any]] = ()
    tuning_s: Mapping[str, float] = field(default_factory=dict)
    paid_back_images: int | None = None
    spoiled: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The content of ``config.json``."""
        facts = asdict(self)
        facts["config"] = self.config.changes
        software = facts["machine"].pop("packages")
        return {"schema_version": SCHEMA_VERSION, **facts, "software": software}

    @classmethod
    def read(cls, folder: Path) -> TunedConfig:
        """Read an emitted folder; raises UsageError where it is not one of ours."""
        path = folder / CONFIG
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{path} cannot be read ({error}): give the folder of a run"
            ) from error
        if not isinstance(facts, dict) or "schema_version" not in facts:
            raise UsageError(f"{path} was not written by 'tune run': give the folder of a run")
        if facts.pop("schema_version") != SCHEMA_VERSION:
            raise UsageError(f"{path} has another schema version: upgrade diffusers-autotune")
        facts["machine"]["packages"] = facts.pop("software")
        facts["machine"] = Machine.from_json(facts["machine"])
        facts["workload"] = Workload.from_json(facts["workload"])
        facts["config"] = Config(facts["config"])
        facts["changes"] = tuple(facts.get("changes", ()))
        return cls(
            **{field.name: facts[field.name] for field in fields(cls) if field.name in facts}
        )
