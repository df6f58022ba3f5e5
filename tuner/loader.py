"""Load what was tuned into an application."""

from __future__ import annotations

import os
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

from search_space.build import Build
from search_space.construct import construct
from search_space.errors import UsageError
from tuner.records.tuned import CONFIG, UNFINISHED, TunedConfig, config_in

EVIDENT = ("torch", "diffusers", "transformers", "onnxruntime")


def load(
    folder: str | Path,
    *,
    model: str | None = None,
    device: str | None = None,
    cache_dir: str | Path | None = None,
    allow_pickle: bool = False,
) -> Any:
    """The pipeline that ``tune run`` measured, ready to be called; nothing else is imported.

    ``folder`` is the output of a run, or a folder with one below it. ``model``, ``device`` and
    ``cache_dir`` replace what the run used. Weights that are pickles, which can hold code, are read
    with ``allow_pickle`` alone. Raises UsageError where the folder or the model is not
    there, and what diffusers raises; warns where versions differ from those measured.
    """
    tuned = TunedConfig.read(tuned_folder(Path(folder)))
    files = model or tuned.folder
    # Unlike pathlib's, of a name that no file can have this says that there is none.
    if model is None and not os.path.isfile(os.path.join(files, "model_index.json")):
        raise UsageError(f"the model is no longer at {files}: say load(..., model=...)")
    if tuned.pickled and not allow_pickle:
        raise UsageError(
            f"the weights at {files} are pickles, which can hold code: "
            "say load(..., allow_pickle=True) where you trust them"
        )
    for package in EVIDENT:
        _warn_if_changed(package, tuned.machine.packages.get(package))
    build = Build(
        files,
        device or tuned.machine.device,
        tuned.workload.call(),
        Path(cache_dir or tuned.cache_dir),
        pickled=tuned.pickled,
    )
    return construct(build, tuned.config)


def tuned_folder(root: Path) -> Path:
    """The folder itself or the only one below it that a run has written; raises UsageError."""
    if config_in(root).exists() or not root.is_dir():
        return root
    paths = (path.parent for path in root.rglob(CONFIG))
    below = sorted(path for path in paths if not path.name.startswith(UNFINISHED))
    if len(below) > 1:
        names = ", ".join(str(path.relative_to(root)) for path in below)
        raise UsageError(f"{root} holds {len(below)} tuned configs: give one of {names}")
    return below[0] if below else root


def _warn_if_changed(package: str, tuned_version: str | None) -> None:
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        return
    if tuned_version is not None and version != tuned_version:
        versions = f"tuned with {package} {tuned_version}, this is {version}"
        warnings.warn(f"{versions}: run 'tune run' again to be sure", stacklevel=3)
