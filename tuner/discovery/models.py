"""Find the model that the user named: a Hub id, a diffusers folder or ``reference:NAME``."""

from __future__ import annotations

import os
import re
import textwrap
from pathlib import Path

from search_space.errors import ModelError
from search_space.pipeline.folder import read_index

REFERENCE = "reference:"

LONGEST = 160
"""Letters of a name that an error repeats; no name on the Hub is as long."""


def check_name(model: str) -> None:
    """Raise ModelError where the name alone, or the folder's index, shows that it is no model."""
    folder = os.path.expanduser(model)
    if model.startswith(REFERENCE):
        from tuner.reference import defaults

        defaults(model.removeprefix(REFERENCE))
    # Unlike a path's method, it takes a name that is too long for one that is not there.
    elif os.path.exists(folder):
        read_index(Path(folder))
    elif not re.fullmatch(r"\w[\w.-]*/[\w.-]+", model):
        name = repr(model) if len(model) < LONGEST else f"{model[:LONGEST]!r}..."
        raise ModelError(
            f"there is no folder {name}, and it is no Hub id (owner/name) nor reference:NAME"
        )


def resolve(model: str, cache_dir: Path, allow_pickle: bool = False) -> Path:
    """The diffusers folder of a model, built or downloaded if need be; raises ModelError."""
    check_name(model)
    if model.startswith(REFERENCE):
        from tuner.reference import build

        return build(model.removeprefix(REFERENCE), cache_dir)
    folder = os.path.expanduser(model)
    return Path(folder).resolve() if os.path.exists(folder) else _download(model, allow_pickle)


def _download(model: str, allow_pickle: bool) -> Path:
    from diffusers import DiffusionPipeline

    try:
        safe = None if allow_pickle else True
        return Path(DiffusionPipeline.download(model, use_safetensors=safe))
    except Exception as error:
        reason = textwrap.shorten(str(error), 160, placeholder=" ...")
        raise ModelError(
            f"{model!r} is no local folder and cannot be fetched from the Hub: "
            f"check the name, the network and your access ({type(error).__name__}: {reason})"
        ) from error
