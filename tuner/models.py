"""Find the model that the user named: a Hub id, a diffusers folder or ``reference:NAME``."""

from __future__ import annotations

import re
from pathlib import Path

from search_space.errors import ModelError
from search_space.pipeline_spec import read_index

REFERENCE = "reference:"


def resolve(model: str, cache_dir: Path) -> Path:
    """The diffusers folder of a model, built or downloaded if need be; raises ModelError."""
    if model.startswith(REFERENCE):
        from tuner.reference import build

        return build(model.removeprefix(REFERENCE), cache_dir)
    folder = Path(model).expanduser()
    if folder.exists():
        read_index(folder)
        return folder.resolve()
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        raise ModelError(
            f"there is no folder {model!r}, and it is no Hub id (owner/name) nor reference:NAME"
        )
    return _download(model)


def _download(model: str) -> Path:
    from diffusers import DiffusionPipeline

    try:
        return Path(DiffusionPipeline.download(model))
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise ModelError(
            f"{model!r} is no local folder and cannot be fetched from the Hub: "
            f"check the name, the network and your access ({type(error).__name__}: {reason})"
        ) from error
