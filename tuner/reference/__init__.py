"""Reference pipelines: published architectures with random weights, built without a download."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from search_space.errors import ModelError
from tuner.reference import flux, ltx, sd3, stable_diffusion, stable_diffusion_xl, wan
from tuner.reference.recipe import Recipe, write

_RECIPES: Mapping[str, Recipe] = {
    "sd15-tiny": stable_diffusion.SD15_TINY,
    "sdxl-tiny": stable_diffusion_xl.SDXL_TINY,
    "sd3-tiny": sd3.SD3_TINY,
    "flux-tiny": flux.FLUX_TINY,
    "wan-tiny": wan.WAN_TINY,
    "ltx-tiny": ltx.LTX_TINY,
    "sd15": stable_diffusion.SD15,
    "sdxl": stable_diffusion_xl.SDXL,
}

NAMES: tuple[str, ...] = tuple(_RECIPES)


def defaults(name: str) -> dict[str, int]:
    """The size and the steps to measure it at; ModelError if there is no such reference."""
    return dict(_recipe(name).workload)


def build(name: str, cache_dir: Path) -> Path:
    """The folder of the pipeline, built if absent; ModelError if unknown or not writable."""
    return build_recipe(name, _recipe(name), cache_dir)


def build_recipe(name: str, recipe: Recipe, cache_dir: Path) -> Path:
    """The folder of a pipeline of any recipe, built if absent; ModelError if not writable."""
    digest = recipe.fingerprint.removeprefix("b2:")
    folder = cache_dir / f"{name}-{digest[:8]}"
    if not folder.is_dir():
        _build(recipe, folder)
    return folder


def _build(recipe: Recipe, folder: Path) -> None:
    from safetensors import SafetensorError

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Beside the folder, because only a rename within a file system is atomic.
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            draft = Path(scratch) / folder.name
            write(recipe, draft)
            _move(draft, folder)
    except (OSError, SafetensorError) as error:
        raise ModelError(_unwritable(folder, error)) from error


def _unwritable(folder: Path, error: Exception) -> str:
    reason = str(getattr(error, "strerror", None) or error).partition("\n")[0]
    return (
        f"cannot write {folder.name} to {folder.parent}: {reason};"
        " choose a cache directory with room that you may write to"
    )


def _move(draft: Path, folder: Path) -> None:
    try:
        os.rename(draft, folder)
    except OSError:
        # Another process was faster and built the same.
        if not folder.is_dir():
            raise


def _recipe(name: str) -> Recipe:
    if name not in _RECIPES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ModelError(f"no reference pipeline {name!r}: {hint}There are: {', '.join(NAMES)}")
    return _RECIPES[name]
