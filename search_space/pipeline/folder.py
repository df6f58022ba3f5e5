"""The folder of a model: its JSON, its files of weights and its identity."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_space.errors import ModelError
from search_space.foreign import INTEGERS, read_object
from search_space.identity import fingerprint

WEIGHTS = (".safetensors", ".bin", ".msgpack", ".gguf")
"""How files of weights end: too large to be read whole for a fingerprint."""

PICKLES = (".bin", ".ckpt", ".pkl", ".pt", ".pth")
"""How files of weights end that may hold code."""


def read_index(folder: Path) -> dict[str, Any]:
    """The parsed ``model_index.json`` of a diffusers folder; raises ModelError."""
    index = folder / "model_index.json"
    if not index.is_file():
        raise ModelError(
            f"{folder} is not a diffusers folder: it has no model_index.json; "
            "give a folder written by save_pretrained, a Hub id or reference:NAME"
        )
    return json_object(index)


def json_object(path: Path, integers: range = INTEGERS) -> dict[str, Any]:
    try:
        return read_object(path, integers)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}): fetch the model again") from error


def files_fingerprint(folder: Path) -> str:
    """The identity of a model's files: JSON whole, weights by size and by their two ends."""
    facts = {
        path.relative_to(folder).as_posix(): _sketch(path)
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".json", *WEIGHTS) and path.is_file()
    }
    return fingerprint(facts)


def _sketch(path: Path, end_bytes: int = 2**16) -> list[object]:
    # A safetensors file has its header at its start; what was trained further differs at its end.
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        digest = hashlib.blake2b(file.read(end_bytes), digest_size=16)
        if size_bytes > end_bytes:
            file.seek(-end_bytes, 2)
            digest.update(file.read())
    return [size_bytes, digest.hexdigest()]


def check_weights(folder: Path, index: Mapping[str, Any], allow_pickle: bool) -> bool:
    """Open every safetensors file, which checks its header against its size.

    Gives whether a part has its weights as pickles; raises ModelError where these are not allowed.
    """
    from safetensors import safe_open

    for path in sorted(folder.rglob("*.safetensors")):
        try:
            with safe_open(path, "pt"):
                pass
        except Exception as error:
            raise ModelError(f"{path} is corrupt ({error}): fetch the model again") from error
    parts = [name for name, part in index.items() if named(part)]
    for name in parts:
        _check_part(folder, name)
    pickles = [path for name in parts for path in _pickles(folder, name)]
    if pickles and not allow_pickle:
        raise ModelError(
            f"{pickles[0]} is a pickle, which can hold code: take the model's safetensors, convert "
            "it as docs/security.md says, or give --allow-pickle where you trust it"
        )
    return bool(pickles)


def _check_part(folder: Path, name: str) -> None:
    # It is an argument of the pipeline, and the folder of the part's files: none beside this one.
    if not name.isidentifier():
        raise ModelError(f"{folder} has a part {name!r}, which is no name: fetch the model again")
    config = folder / name / "config.json"
    if config.exists() and (kernel := _kernel_in(json_object(config))):
        raise ModelError(
            f"{config} asks for the kernel {kernel!r} of the Hub, whose code would be run: "
            "take 'attn_implementation' out of it"
        )


def _pickles(folder: Path, name: str) -> list[Path]:
    """The pickles of a part that has no safetensors."""
    files = sorted((folder / name).glob("*"))
    if any(path.suffix == ".safetensors" for path in files):
        return []
    return [path for path in files if path.suffix in PICKLES]


def _kernel_in(value: object) -> str | None:
    """What transformers would fetch and run as attention, if a config or a part of it says so."""
    items = value.items() if isinstance(value, dict) else ()
    for name, each in items:
        texts = each.values() if isinstance(each, dict) else (each,)
        if name.endswith("attn_implementation"):
            for text in texts:
                if isinstance(text, str) and "/" in text:
                    return text
        elif kernel := _kernel_in(each):
            return kernel
    return None


def named(part: object) -> tuple[str, str] | None:
    """The library and the class that a part of the index names, if it does."""
    match part:
        case [str(library), str(kind)]:
            return library, kind
    return None
