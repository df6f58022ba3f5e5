"""Put the files of a run in the place of an earlier one's, so that no reader meets some of each."""

from __future__ import annotations

import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tuner.records.tuned import CONFIG, CONTACT_SHEET, SCRIPT, UNFINISHED, digest

FILES = {CONFIG, SCRIPT, CONTACT_SHEET}

DAY_S = 86_400
"""After this a folder of another host is taken to be left over; a run needs its own for
milliseconds."""


def replace_files(folder: Path, script: bytes, config: bytes, sheet: bytes | None) -> None:
    """Write a run's files, all new or all old to whoever reads them by ``config_in``.

    It is new once ``load.py`` is. Folders of runs that were killed meanwhile are taken away, other
    files are left alone. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with unfinished(folder) as draft:
        (draft / SCRIPT).write_bytes(script)
        (draft / CONFIG).write_bytes(config)
        if sheet is not None:
            (draft / CONTACT_SHEET).write_bytes(sheet)
        # By the name of a digest it is looked into: only now, when it is whole.
        ready = draft.rename(draft.with_name(draft.name + digest(script)))
        try:
            # A picture of another config misleads, none does not.
            (folder / CONTACT_SHEET).unlink(missing_ok=True)
            for name in (SCRIPT, CONFIG, *([] if sheet is None else [CONTACT_SHEET])):
                os.replace(ready / name, folder / name)
        finally:
            shutil.rmtree(ready, ignore_errors=True)
    sweep(folder)


@contextmanager
def unfinished(folder: Path) -> Iterator[Path]:
    """A new folder in this one, named after this process; raises OSError."""
    path = folder / f"{UNFINISHED}{_host()}-{os.getpid()}-"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Take away what runs that no longer live have left unfinished."""
    for path in folder.glob(f"{UNFINISHED}*"):
        ours = path.is_dir() and not path.is_symlink() and {x.name for x in path.iterdir()} <= FILES
        if ours and _abandoned(path):
            shutil.rmtree(path, ignore_errors=True)


def _abandoned(path: Path) -> bool:
    import psutil

    owner = re.fullmatch(rf"{re.escape(UNFINISHED + _host())}-(\d{{1,9}})-\w*", path.name)
    if owner:
        return not psutil.pid_exists(int(owner[1]))
    return time.time() - path.stat().st_mtime > DAY_S


def _host() -> str:
    return re.sub(r"\W", "", platform.node())
