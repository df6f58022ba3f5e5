"""Whose classes the index of a model may name: importing any other module would run its code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from search_space.errors import ModelError

LIBRARIES = ("diffusers", "transformers")


def check_libraries(folder: Path, index: Mapping[str, Any]) -> None:
    """Raise ModelError where a part of the pipeline is not of these libraries."""
    for name, part in index.items():
        is_part = name == "_class_name" or not name.startswith("_")
        if is_part and isinstance(part, list) and len(part) == 2 and not may_be_loaded(part[0]):
            word = name if name.isidentifier() else repr(name)
            raise ModelError(
                f"{folder} takes its {word} from {part[0]!r}, whose code would be run: nothing but "
                f"{' and '.join(LIBRARIES)} is loaded; take another model, or replace that part"
            )


def may_be_loaded(library: object) -> bool:
    """Whether diffusers may be asked for a class of this library; None stands for no part."""
    return library is None or library in LIBRARIES or _is_of_a_pipeline(library)


def _is_of_a_pipeline(library: object) -> bool:
    """Whether it is a module of diffusers itself: ``stable_diffusion`` has the safety checker."""
    from diffusers import pipelines

    module = getattr(pipelines, library, None) if isinstance(library, str) else None
    return isinstance(module, ModuleType) and module.__name__.startswith("diffusers.pipelines.")


def class_names(index: Mapping[str, Any]) -> set[str]:
    """The classes of the pipeline as ``library:Class``, of these libraries alone."""
    parts = [part for part in index.values() if isinstance(part, list) and len(part) == 2]
    parts.append(["diffusers", index.get("_class_name")])
    return {
        f"{library}:{name}"
        for library, name in parts
        if library in LIBRARIES and isinstance(name, str) and name.isidentifier()
    }
