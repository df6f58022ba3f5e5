"""What a reference pipeline is made of, and how it becomes a folder."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from search_space.identity import fingerprint
from tuner.reference import tokenizers, weights

VERSION = 1
"""Raised when weights.py or tokenizers.py makes something else out of the same recipe."""


@dataclass(frozen=True)
class Part:
    """One component: the library and class that model_index.json names, and its configuration."""

    library: str
    class_name: str
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Recipe:
    """One reference pipeline: its components, its precision and its default workload."""

    pipeline: str
    parts: Mapping[str, Part]
    workload: Mapping[str, int]
    options: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float32"

    @property
    def fingerprint(self) -> str:
        """The identity of what is built; the workload is not part of it."""
        facts = asdict(self)
        del facts["workload"]
        return fingerprint({"version": VERSION, **facts})


def write(recipe: Recipe, folder: Path) -> None:
    """One component after the other, so that no more than one is ever in memory."""
    parts = {name: _write_part(recipe, name, folder / name) for name in recipe.parts}
    cls = getattr(importlib.import_module("diffusers"), recipe.pipeline)
    cls(**parts, **recipe.options).save_config(folder)


def _write_part(recipe: Recipe, name: str, folder: Path) -> Any:
    import torch

    component = make(recipe.parts[name])
    has_weights = isinstance(component, torch.nn.Module)
    if has_weights:
        weights.fill(component, name, getattr(torch, recipe.dtype))
    component.save_pretrained(folder)
    return component.to("meta") if has_weights else component


def make(part: Part) -> Any:
    """The component as its class makes it from the configuration; a model is still weightless."""
    if part.class_name in tokenizers.MAKERS:
        return tokenizers.MAKERS[part.class_name](**part.config)
    cls = getattr(importlib.import_module(part.library), part.class_name)
    return weights.weightless(lambda: _construct(cls, part))


def _construct(cls: Any, part: Part) -> Any:
    if part.library == "transformers":
        return cls(cls.config_class(**part.config))
    return cls(**part.config)
